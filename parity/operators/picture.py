"""The picture of `make operators`: the share of each verdict by operator and column."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from parity.coverage.colors import COLORS as COVERAGE_COLORS
from parity.operators.case import EXPANDED_ROW
from parity.operators.record import OperatorRecord
from parity.operators.verdicts import MEANINGS, VERDICTS, WRONG

ROW_HEIGHT, COLUMN_WIDTH, NAMES_WIDTH = 0.155, 1.25, 2.6  # inches
EXPANDED_NAME = " (exp.)"  # in place of EXPANDED_ROW: the names must fit
# What COVERAGE.md shows too has the same colour there.
COLORS = {
    "right": COVERAGE_COLORS["same"],
    "imprecise": COVERAGE_COLORS["imprecise"],
    "unstable": COVERAGE_COLORS["unstable"],
    "different": COVERAGE_COLORS["different"],
    "other shape": "#9b2d1f",
    "refused": COVERAGE_COLORS["refused"],
    "hangs": COVERAGE_COLORS["timeout"],
    "crashed": COVERAGE_COLORS["crashed"],
    "not applicable": "#eeeeee",
}


def draw(path: Path, record: OperatorRecord, dpi: int) -> None:
    """Draw a row for each operator that is neither right nor refused everywhere, with a bar for
    each column: the share of its cases with each verdict."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    from parity.evaluation.charts import (
        header,
        name_columns,
        name_rows,
        new_figure,
        verdict_legend,
    )

    wrong = {name: counts for name, counts in record.counts.items() if _is_mixed(counts.values())}
    rows = wrong or record.counts
    right = sum(_is_right(counts.values()) for counts in record.counts.values())
    refused = len(record.counts) - len(wrong) - right
    width = NAMES_WIDTH + COLUMN_WIDTH * max(len(record.columns), 4)
    height = ROW_HEIGHT * max(len(rows), 1) + 1.2 + 0.17 * len(VERDICTS)
    readable = {"path_effects": [withStroke(linewidth=1.8, foreground="white")]}
    with new_figure(path, width, height, dpi) as figure:
        axes = figure.add_subplot()
        for y, counts in enumerate(rows.values()):
            for x, column in enumerate(record.columns):
                for left, share, verdict in _shares(counts[column]):
                    bar = {"color": COLORS[verdict], "ec": "none"}
                    axes.add_patch(Rectangle((x + left, y - 0.42), share, 0.84, **bar))
                axes.text(
                    x + 0.47,
                    y,
                    _text(counts[column]),
                    ha="center",
                    va="center",
                    fontsize=6,
                    **readable,
                )
        name_rows(axes, [name.replace(EXPANDED_ROW, EXPANDED_NAME) for name in rows])
        axes.set_xlim(-0.03, len(record.columns))
        places = [x + 0.47 for x in range(len(record.columns))]
        name_columns(axes, places, [f"{one.engine}\n{one.opencv}" for one in record.columns])
        used = {
            verdict
            for counts in record.counts.values()
            for one in counts.values()
            for verdict in one
        }
        meanings = {name: words for name, words in MEANINGS.items() if name in used}
        verdict_legend(figure, COLORS, meanings)
        header(
            figure,
            "Operators in OpenCV",
            "The share of each verdict among an operator's cases, by engine and version of OpenCV,"
            " and right of how many that can be asked."
            f"{EXPANDED_NAME}: expanded, the operator's definition as nodes."
            f" Left out: {right} rows of OPERATORS.md that are right everywhere, and {refused} that"
            " are refused everywhere.",
        )


def _is_right(counts: Iterable[Counter]) -> bool:
    return not any(count[verdict] for count in counts for verdict in WRONG)


def _is_refused(counts: Iterable[Counter]) -> bool:
    """Whether all cases are refused or not applicable."""
    return not any(one.keys() - {"refused", "not applicable"} for one in counts)


def _is_mixed(counts: Collection[Counter]) -> bool:
    return not _is_right(counts) and not _is_refused(counts)


def _shares(counts: Mapping[str, int]) -> list[tuple[float, float, str]]:
    """Where a bar of a verdict begins and how long it is, in parts of a column, with the verdict;
    all bars end before the next column."""
    total, left, found = sum(counts.values()), 0.0, []
    for verdict in VERDICTS:
        if counts.get(verdict):
            share = 0.94 * counts[verdict] / total
            found.append((left, share, verdict))
            left += share
    return found


def _text(counts: Counter) -> str:
    asked = counts.total() - counts["not applicable"]
    return f"{counts['right']}/{asked}" if asked else "-"
