"""The shared look of all pictures: style, colours, headers, grouped rows, reproducible files."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator

from parity.backends.contract import LABELS, failure_text
from parity.core.files import new_file
from parity.evaluation.results import Results
from parity.evaluation.shown_times import MARK

# From Okabe and Ito's palette, which colour-blind readers can tell apart.
COLORS = {"pytorch": "#e69f00", "onnxruntime": "#8a8a8a", "opencv": "#0072b2"}
MARKERS = {"pytorch": "D", "onnxruntime": "s", "opencv": "o"}
# Label, colour and marker; a pair with PyTorch has the colour of the other backend.
PAIR_LOOKS = {
    "opencv_vs_pytorch": ("OpenCV against PyTorch", "#0072b2", "o"),
    "onnxruntime_vs_pytorch": ("ONNX Runtime against PyTorch", "#8a8a8a", "s"),
    "opencv_vs_onnxruntime": ("OpenCV against ONNX Runtime", "#cc79a7", "D"),
}
RULE = {"color": "#d0d0d0", "linewidth": 0.6}
INK, FAINT, ALARM = "#222222", "#666666", "#c1121f"

STYLE = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called `$5 $10`
    "axes.edgecolor": "#b0b0b0",
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": FAINT,
    "xtick.labelsize": 8,
    "ytick.color": "#b0b0b0",
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
}

MAX_PIXELS = 30_000  # per side; matplotlib refuses 2**16
BAR = 0.17  # inches
GAP = 0.14  # inches, between two groups of bars
SMALL = 7  # points, the smallest readable size
MAX_FAILURE = 200  # characters of a failure's message


@contextmanager
def new_figure(path: Path, width: float, height: float, dpi: int) -> Iterator[Figure]:
    """Yield a figure of `width` x `height` inches to draw on, then write it as a PNG file.

    The user's matplotlibrc has no effect, and the same drawing gives the same bytes. A picture too
    large for the format gets fewer dots per inch.
    """
    with style.context(STYLE, after_reset=True), new_file(path) as partial:
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        dpi = min(dpi, MAX_PIXELS / max(figure.get_size_inches()))
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})


def header(
    figure: Figure, title: str, subtitle: str, verdict: str = "", alarm: bool = False
) -> None:
    """Write a wrapped title, a verdict, with `alarm` in its color, and a subtitle at the top left,
    and enlarge the figure to hold them."""
    width, body = figure.get_size_inches()
    lines = []
    texts = (
        (title, 12, "bold", INK),
        (verdict, 9.5, "bold", ALARM if alarm else INK),
        (subtitle, 8.5, "normal", FAINT),
    )
    for text, size, weight, color in texts:
        columns = int(72 * (width - 0.3) / (size * (0.7 if weight == "bold" else 0.58)))
        lines += [(line, size, weight, color) for line in _wrap(text, columns)]
    top = 0.12 + sum(size * 1.4 / 72 for _, size, _, _ in lines)
    height = body + top
    figure.set_size_inches(width, height)
    figure.get_layout_engine().set(rect=(0, 0, 1, body / height))
    y = 0.12
    for line, size, weight, color in lines:
        place = (0.12 / width, 1 - y / height)
        figure.text(*place, line, fontsize=size, fontweight=weight, color=color, va="top")
        y += size * 1.4 / 72


def _wrap(text: str, columns: int) -> list[str]:
    return [piece for line in text.splitlines() for piece in textwrap.wrap(line, columns)]


def bar_step(series: int = 3) -> float:
    """Return the distance between two bars of a group, in units of that between two groups."""
    return BAR / (series * BAR + GAP)


def bars_height(groups: int, series: int = 3) -> float:
    """Return the height in inches that grouped bars need."""
    return groups * (series * BAR + GAP)


def grouped_bars(
    axes: Axes,
    names: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    text: Callable[[float], str],
    missing: Mapping[str, Sequence[str | None]] | None = None,
) -> None:
    """Draw horizontal bars from the top down: one group per name, one bar per backend.

    `values` holds one value per name for each backend. `text` formats the value at the bar's end.
    For a value of None, `missing` says why. Bars need an axis that starts at 0.
    """
    step = bar_step(len(values))
    for y, group, backend, value in _grouped(values):
        if value is None:
            _missing_label(axes, y, missing[backend][group] if missing else None)
            continue
        axes.barh(y, value, height=0.9 * step, color=COLORS[backend])
        bar_label(axes, value, y, text(value))
    name_rows(axes, names)
    axes.grid(axis="x")


def grouped_points(
    axes: Axes,
    names: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    ends: Mapping[str, Sequence[float | None]],
    text: Callable[[float], str],
    missing: Mapping[str, Sequence[str | None]],
    doubtful: Sequence[bool],
) -> None:
    """Draw points in the rows of `grouped_bars`, each with a line to where its interval ends.

    Unlike a bar, a point means the same wherever the axis starts. The points of a `doubtful` name
    are hollow, and their values marked.
    """
    for y, group, backend, value in _grouped(values):
        if value is None:
            _missing_label(axes, y, missing[backend][group])
            continue
        color, end = COLORS[backend], ends[backend][group]
        axes.plot([value, end], [y, y], color=color, linewidth=1.6)
        axes.plot([end], [y], "|", color=color, markersize=6, markeredgewidth=1.6)
        fill = "white" if doubtful[group] else color
        axes.plot([value], [y], MARKERS[backend], color=color, markerfacecolor=fill, markersize=5.5)
        shown = text(value) + (MARK if doubtful[group] else "")
        _label(axes, end, y, shown, (7, "left"))
    name_rows(axes, names)
    row_rules(axes, len(names))
    axes.grid(axis="x")


def _grouped(
    values: Mapping[str, Sequence[float | None]],
) -> Iterator[tuple[float, int, str, float | None]]:
    """Yield the row position, the group, the backend and the value of each bar or point."""
    for number, (backend, row) in enumerate(values.items()):
        shift = (number - (len(values) - 1) / 2) * bar_step(len(values))
        for group, value in enumerate(row):
            yield group + shift, group, backend, value


def _missing_label(axes: Axes, y: float, reason: str | None) -> None:
    _label(axes, axes.get_xlim()[0], y, reason or "no value", color=ALARM if reason else INK)


def _label(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    place: tuple[float, str] = (4, "left"),
    color: str = INK,
) -> None:
    """Write a value beside its mark; `place` is the distance in points and the alignment."""
    shift, align = place
    offset = {"xytext": (shift, -0.5), "textcoords": "offset points"}
    halo = [withStroke(linewidth=2, foreground="white")]  # a line may cross the text
    look = {"fontsize": SMALL, "color": color, "path_effects": halo}
    axes.annotate(text, (x, y), ha=align, va="center", **look, **offset)


def name_rows(axes: Axes, names: Sequence[str], longest: int = 32) -> None:
    """Make the y axis one row per name, the first at the top."""
    axes.set_yticks(range(len(names)), [truncate(name, longest) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def row_rules(axes: Axes, rows: int) -> None:
    """Separate the rows by lines."""
    for row in range(rows - 1):
        axes.axhline(row + 0.5, **RULE)


def name_columns(axes: Axes, places: Iterable[float], names: Sequence[str]) -> None:
    """Name the columns of a table above it, and draw no frame."""
    axes.set_xticks(list(places), names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=7)
    for side in axes.spines.values():
        side.set_visible(False)


def verdict_legend(figure: Figure, colors: Mapping[str, str], meanings: Mapping[str, str]) -> None:
    """Explain below the axes what each verdict, with its color, means."""
    handles = [
        Patch(color=colors[name], label=f"{name}: {text}") for name, text in meanings.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=1, fontsize=7)


def log_axis(
    axes: Axes, low: float, high: float, subs: Sequence[float], text: Callable[[float], str]
) -> None:
    """Make the x axis logarithmic, with ticks at `subs` times the powers of ten."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: text(value))


def parity_dot(
    axes: Axes, y: float, rel: float | None, pair: str, limits: tuple[float, float]
) -> None:
    """Mark the relative difference of a pair of backends."""
    _, color, marker = PAIR_LOOKS[pair]
    difference_dot(axes, y, rel, color, marker, limits)


def difference_dot(
    axes: Axes,
    y: float,
    value: float | None,
    color: str,
    marker: str,
    limits: tuple[float, float],
) -> None:
    """Mark a difference: 0 at the left edge, None (not a number) at the right.

    A logarithmic axis has no 0, and a missing number must not look like a missing finding.
    """
    low, high = limits
    text = f"{value:.1e}" if value else "0"
    if value is None:
        value, color, marker, text = high, ALARM, "X", "not a number"
    x = max(value, low * (high / low) ** 0.008)
    axes.plot(x, y, marker, color=color, markersize=5, clip_on=False)
    place = (-6, "right") if x > high / (high / low) ** 0.08 else (6, "left")
    _label(axes, x, y, text, place, ALARM if color == ALARM else FAINT)


def bar_label(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a value at the end of its bar."""
    _label(axes, x, y, text)


def failure_label(axes: Axes, y: float, text: str) -> None:
    """Write what failed at the left edge, at row position `y`."""
    _label(axes, axes.get_xlim()[0], y, text, color=ALARM)


def limit_line(axes: Axes, x: float, top: float, bottom: float) -> None:
    """Draw a limit from row position `top` to `bottom`, with its value beside its upper end."""
    axes.plot([x, x], [top, bottom], color=INK, linewidth=1, linestyle=(0, (4, 2)))
    place = {"xytext": (3, -1.5), "textcoords": "offset points"}
    axes.annotate(f"limit {x:g}", (x, top), va="top", fontsize=SMALL, color=INK, **place)


def right_of(axes: Axes, y: float, text: str, strong: bool = False, above: bool = False) -> None:
    """Write into the column to the right of the axes, at row position `y`."""
    axes.annotate(
        text,
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(12, 4 if above else -0.5),
        textcoords="offset points",
        va="bottom" if above else "center",
        fontsize=8 if above else SMALL,
        fontweight="bold" if strong else "normal",
        annotation_clip=False,
    )


def pair_legend(figure: Figure) -> None:
    """Explain the markers of the pairs below the drawing."""
    handles = [
        Line2D([], [], marker=marker, linestyle="none", color=color, label=label)
        for label, color, marker in PAIR_LOOKS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(PAIR_LOOKS))


def backend_legend(figure: Figure, backends: Iterable[str] = LABELS, points: bool = False) -> None:
    """Explain the colours of the backends, with `points` their markers, below the drawing."""
    handles = [
        Line2D([], [], ls="none", marker=MARKERS[name], color=COLORS[name], label=LABELS[name])
        if points
        else Patch(color=COLORS[name], label=LABELS[name])
        for name in backends
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def truncate(name: str, length: int) -> str:
    """Cut a user's name to `length` characters, to leave room for the drawing."""
    return name if len(name) <= length else name[: length - 1] + "…"


def opencv_failure_line(results: Results) -> str:
    """Return a further line for the header that says why OpenCV has no outputs; empty if it has."""
    if "opencv" in results.scores:
        return ""
    return "\n" + truncate(failure_text("opencv", results.failures["opencv"]), MAX_FAILURE)
