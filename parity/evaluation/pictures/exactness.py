"""How exact each backend is, model by model: its distance from the answer in float64."""

from collections.abc import Sequence
from pathlib import Path

from parity.backends.contract import BACKENDS, LABELS
from parity.core.markdown import ratio_text
from parity.evaluation import charts
from parity.evaluation.pictures.overview import WIDTH, decades_around
from parity.evaluation.results import Results

MAX_REASON = 120  # characters


def draw_exactness(path: Path, models: Sequence[Results], dpi: int) -> None:
    """Draw a dot per backend, with the ratio to the reference's distance to the right, and a line
    at the reference's own distance."""
    distances = [one for results in models for one in results.exact.distances.values()]
    limits = decades_around([one.rms for one in distances])
    with charts.new_figure(path, WIDTH, charts.bars_height(len(models)) + 1.1, dpi) as figure:
        charts.header(
            figure,
            "Exactness: how far each backend is from the answer in float64",
            "rms: root mean square of the differences from float64's logits, over that of these"
            " logits. Line: the reference's own. Ratio: OpenCV's over it; 1.0 is as exact.",
        )
        axes = figure.subplots()
        charts.log_axis(axes, *limits, (1,), "{:.0e}".format)
        step = charts.bar_step(len(BACKENDS))
        for group, results in enumerate(models):
            if results.exact.reason:
                reason = f"no exact answer: {results.exact.reason}"
                charts.failure_label(axes, group, charts.truncate(reason, MAX_REASON))
                continue
            own = results.exact.distances[results.reference].rms
            if own:
                rows = [group - 1.6 * step, group + 1.6 * step]
                axes.plot([own, own], rows, color=charts.COLORS[results.reference], linewidth=1)
            for number, backend in enumerate(BACKENDS):
                y = group + (number - 1) * step
                if backend in results.exact.distances:
                    rms = results.exact.distances[backend].rms
                    color, marker = charts.COLORS[backend], charts.MARKERS[backend]
                    charts.difference_dot(axes, y, rms, color, marker, limits)
                elif backend in results.failures:
                    charts.failure_label(axes, y, f"{LABELS[backend]} failed")
            charts.right_of(axes, group, ratio_text(results.exact.ratio.get("opencv")))
        charts.right_of(axes, -0.5, "ratio", above=True)
        charts.name_rows(axes, [results.model for results in models])
        charts.row_rules(axes, len(models))
        axes.grid(axis="x")
        axes.set_xlabel("rms, logarithmic")
        charts.backend_legend(figure, points=True)
