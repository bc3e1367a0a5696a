"""Markdown that reads well in a terminal too: aligned tables, one format for each figure."""

import math
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

from parity.core.cli import InputError
from parity.core.paths import README

NOTHING = "-"  # the text of a figure that is None or NaN


def markdown_table(rows: list[list[str]], left: int, words: bool = False) -> str:
    """Return a table whose first row is the header; the first `left` columns are aligned left, the
    others right. With `words` the last column is text of any length, not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1 if words else None
    if words:
        widths[last] = len(rows[0][last])

    def line(cells: list[str]) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        aligned = [c.ljust(w) if is_left(number) else c.rjust(w) for number, (c, w) in columns]
        return f"| {' | '.join(aligned)} |\n"

    def is_left(number: int) -> bool:
        return number < left or number == last

    rule = ["-" * w if is_left(number) else "-" * (w - 1) + ":" for number, w in enumerate(widths)]
    return line(rows[0]) + line(rule) + "".join(map(line, rows[1:]))


def difference_text(value: float | None) -> str:
    """Format a difference, absolute or relative, with two digits; only an exact 0 is `0`."""
    if _is_missing(value):
        return NOTHING
    return f"{value:.1e}" if value else "0"


def ratio_text(value: float | None) -> str:
    """Format a ratio with two decimals below 1, one below 100, none above."""
    if _is_missing(value):
        return NOTHING
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def agreement_text(percent: float | None) -> str:
    """Format an agreement with three decimals, rounded down: only an exact 100 is `100`."""
    if _is_missing(percent):
        return NOTHING
    if percent == 100:
        return "100"
    # In decimal: as floats, 1000 * 64.1 is less than 64100.
    return str(Decimal(str(float(percent))).quantize(Decimal("0.001"), ROUND_FLOOR))


def loss_text(points: float | None) -> str:
    """Format a loss of accuracy in percentage points with two decimals; a gain is negative."""
    if _is_missing(points):
        return NOTHING
    return f"{round(points, 2) + 0.0:.2f}"  # -0.0 + 0.0 is 0.0


def _is_missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def replace_block(text: str, block: str, content: str, page: Path = README) -> str:
    """Return `text` with the lines between `<!-- block -->` and `<!-- end -->` replaced.

    Raises InputError, naming the `page`, when the text has no such block.
    """
    before, marker, rest = text.partition(f"<!-- {block} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not marker or not end:
        raise InputError(f"{page}: no section between <!-- {block} --> and <!-- end -->")
    return f"{before}{marker}{content}{end}{after}"
