"""Tables in Markdown that read well in a terminal too, and how figures are rounded in them."""

import math

from parity.core.cli import InputError
from parity.core.paths import README


def padded(lines: list[list[str]], left: int) -> str:
    """A Markdown table; the first `left` columns are aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: list[str]) -> str:
        places = enumerate(zip(cells, widths, strict=True))
        aligned = [c.ljust(w) if number < left else c.rjust(w) for number, (c, w) in places]
        return f"| {' | '.join(aligned)} |\n"

    rule = ["-" * w if number < left else "-" * (w - 1) + ":" for number, w in enumerate(widths)]
    return line(lines[0]) + line(rule) + "".join(map(line, lines[1:]))


def difference_text(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def agreement_text(percent: float) -> str:
    """Never rounded to 100: 99.9996 is not the same."""
    return "100" if percent == 100 else f"{math.floor(1000 * percent) / 1000:.3f}"


def replace_block(text: str, block: str, content: str) -> str:
    """Return `text` with what stands between `<!-- block -->` and `<!-- end -->` replaced.

    Raises InputError where the text has no such block.
    """
    before, marker, rest = text.partition(f"<!-- {block} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not marker or not end:
        raise InputError(f"{README}: no section between <!-- {block} --> and <!-- end -->")
    return f"{before}{marker}{content}{end}{after}"
