"""Draw how the error grows along a network."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

from matplotlib.ticker import LogLocator, NullLocator

from parity.evaluation.charts import ALARM, COLORS, FAINT, INK, header, new_figure, truncate
from parity.graphs.difference import Difference

LOWEST = 1e-9  # where exact tensors are drawn
COLUMNS = 84  # bold letters that fit the width of the axes


def draw_depth(
    path: Path,
    title: str,
    subtitle: str,
    order: Sequence[str],
    errors: Mapping[str, Difference],
    limits: Mapping[str, float],
    fault: tuple[str, str] | None,
    dpi: int,
) -> None:
    """Draw the relative error of each measured tensor against its place in `order`, and the limits.

    `fault` is the tensor to mark and its label. Tensors without a relative error (another shape, no
    output) lie on a line of their own at the top.
    """
    place = {name: number for number, name in enumerate(order)}
    points = [(place[name], error) for name, error in errors.items() if name in place]
    finite = [error.rel for _, error in points if isfinite(error.rel)]
    line = [limits[name] for name in order]
    high = 100 * max([*line, *finite])
    low = max(LOWEST, min([*line, *(rel for rel in finite if rel)]) / 10)
    with new_figure(path, 7.6, 3.6, dpi) as figure:
        header(figure, title, subtitle)
        axes = figure.add_subplot()
        axes.set_yscale("log")
        axes.set_ylim(low / 2, high)
        axes.set_xlim(-0.02 * len(order) - 0.5, 1.02 * len(order) - 0.5)
        axes.step(range(len(order)), line, where="mid", color=INK, linewidth=0.8, linestyle="--")
        number = place.get(fault[0]) if fault else None
        # At the end further from the line of the fault, which would cross the text.
        _label_limit(axes, line, at_left=number is not None and number > len(order) / 2)
        top = high / (high / low) ** 0.04
        for x, error in points:
            y = top if not isfinite(error.rel) else max(error.rel, low)
            bad = not error.rel <= line[x]
            marker = "X" if error.failed else "^" if y == top else "o"
            axes.plot(x, y, marker, markersize=4.5, color=ALARM if bad else COLORS["opencv"])
        if number is not None:
            _mark(axes, number, len(order), fault[1])
        if any(not isfinite(error.rel) for _, error in points):
            text = "▲ another shape, NaN or infinity   ✖ no output"
            axes.annotate(text, (0, 1), (0, 3), fontsize=7.5, color=FAINT, **_from_corner())
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
        axes.grid(axis="y")
        axes.set_xlabel("tensor, in topological order")
        axes.set_ylabel("relative error")


def _label_limit(axes, line: Sequence[float], at_left: bool) -> None:
    beside = max(len(line) // 6, 1)  # tensors that the label covers
    limit = line[0 if at_left else -1]
    above = max(line[:beside] if at_left else line[-beside:])
    axes.annotate(
        f"limit {limit:.2g}",
        (0 if at_left else 1, above),
        (4 if at_left else -4, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="left" if at_left else "right",
        fontsize=7.5,
    )


def _mark(axes, number: int, count: int, text: str) -> None:
    axes.axvline(number, color=ALARM, linewidth=0.8)
    left = number > count / 2
    share = max(number, count - number) / count  # of the width that is free for the text
    axes.annotate(
        "\n".join(truncate(line, int(share * COLUMNS)) for line in text.split("\n")),
        (number, 0.87),  # above the limit, below the tensors without a relative error
        (-6 if left else 6, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8,
        fontweight="bold",
        color=ALARM,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
    )


def _from_corner() -> dict:
    return {"xycoords": "axes fraction", "textcoords": "offset points"}
