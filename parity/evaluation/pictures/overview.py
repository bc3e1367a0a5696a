"""All models side by side: inference times, accuracy and parity."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from parity.backends.contract import BACKENDS, LABELS, PAIRS
from parity.core.markdown import NOTHING
from parity.core.params import Task
from parity.evaluation import charts
from parity.evaluation.results import Results, Timing
from parity.evaluation.shown_times import MARK, is_disturbed
from parity.evaluation.summary import (
    accuracy_text,
    agreement_or_vacuous,
    environment_text,
    has_published,
    milliseconds,
)
from parity.evaluation.verdict import VACUOUS

ACCURACY_TITLES: dict[Task, str] = {
    "classification": "Classification: share of images whose predicted class is right (acc@1, %)",
    "segmentation": "Segmentation: intersection over union, mean of the classes (mean IoU, %)",
}
WIDTH = 10.0  # inches
LOG_SPAN = 20  # ratio of the longest to the shortest time above which the axis is logarithmic


def draw_times(path: Path, models: Sequence[Results], dpi: int) -> None:
    """Draw points at the median, with a line to the 95th percentile; disturbed ones hollow."""
    timed = [results.benchmark for results in models if results.benchmark]
    timings = [timing for benchmark in timed for timing in benchmark.timings.values()]
    medians = _by_backend(models, attrgetter("median_ms"))
    p95s = _by_backend(models, attrgetter("p95_ms"))
    shortest = min((timing.median_ms for timing in timings), default=1)
    longest = max((timing.p95_ms for timing in timings), default=1)
    with charts.new_figure(path, WIDTH, charts.bars_height(len(models)) + 0.9, dpi) as figure:
        legend = ""
        if timed:
            counts = {benchmark.runs for benchmark in timed}
            runs = " to ".join(map(str, sorted({min(counts), max(counts)})))
            legend = f"Point and number: median of {runs} runs; line: to the 95th percentile."
        if any(map(is_disturbed, models)):
            legend += f" Hollow and {MARK}: disturbed, do not rely on it."
        charts.header(figure, "Inference time in ms", f"{legend}\n{environment_text(models)}")
        axes = figure.subplots()
        is_log = longest > LOG_SPAN * shortest
        if is_log:
            room = (longest / shortest) ** 0.1
            charts.log_axis(axes, shortest / room, longest * room, (1, 2, 5), "{:g}".format)
        else:
            axes.set_xlim(0, longest * 1.1)
        missing = {
            backend: [kind or results.untimed for kind, results in zip(kinds, models, strict=True)]
            for backend, kinds in _failure_kinds(models).items()
        }
        doubtful = list(map(is_disturbed, models))
        charts.grouped_points(axes, _names(models), medians, p95s, milliseconds, missing, doubtful)
        axes.set_xlabel("ms, logarithmic" if is_log else "ms")
        charts.backend_legend(figure, points=True)


def draw_accuracy(path: Path, models: Sequence[Results], dpi: int) -> None:
    """Draw one panel per task, as their scores do not compare."""
    panels = {
        task: [results for results in models if results.task == task] for task in ACCURACY_TITLES
    }
    panels = {task: members for task, members in panels.items() if members}
    heights = [charts.bars_height(len(members)) for members in panels.values()]
    height = sum(heights) + 0.4 * len(panels) + 0.7
    with charts.new_figure(path, WIDTH, height, dpi) as figure:
        charts.header(figure, "Accuracy of the same model in each backend", _images_text(models))
        grid = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (task, members) in zip(grid, panels.items(), strict=True):
            values = {
                backend: [results.accuracy.get(backend) for results in members]
                for backend in BACKENDS
            }
            axes.set_title(ACCURACY_TITLES[task])
            axes.set(xlim=(0, 106), xticks=range(0, 101, 20))
            reasons = _failure_kinds(members)
            charts.grouped_bars(axes, _names(members), values, accuracy_text, missing=reasons)
            if has_published(members):
                charts.right_of(axes, -0.5, "published", above=True)
                for number, results in enumerate(members):
                    charts.right_of(axes, number, accuracy_text(results.published))
        charts.backend_legend(figure)


def draw_parity(
    path: Path, models: Sequence[Results], limits: Sequence[float], least_spread: float, dpi: int
) -> None:
    """Draw a dot per pair of backends and the gate's limit of each model's `rel`, with the
    agreement to the right."""
    rels = [pair.rel for results in models for pair in results.parity.values()]
    span = decades_around([*rels, *limits])
    with charts.new_figure(path, WIDTH, charts.bars_height(len(models)) + 1.1, dpi) as figure:
        charts.header(
            figure,
            "Parity of the backends' answers",
            "rel: largest absolute difference of the logits over the reference's largest absolute"
            " logit. Dashed: the gate's limit of it. Agreement: share of images or pixels with the"
            " same predicted class.",
        )
        axes = figure.subplots()
        charts.log_axis(axes, *span, (1,), "{:.0e}".format)
        charts.name_rows(axes, _names(models))
        charts.row_rules(axes, len(models))
        for limit, rows in groupby(range(len(models)), limits.__getitem__):
            places = list(rows)
            charts.limit_line(axes, limit, places[0] - 0.5, places[-1] + 0.5)
        for number, pair in enumerate(PAIRS):
            shift = (number - (len(PAIRS) - 1) / 2) * charts.bar_step(len(PAIRS))
            for group, results in enumerate(models):
                y, parity = group + shift, results.parity.get(pair)
                if parity is None:
                    failed = [LABELS[name] for name in PAIRS[pair] if name in results.failures]
                    if failed:
                        charts.failure_label(axes, y, f"{failed[0]} failed")
                    continue
                charts.parity_dot(axes, y, parity.rel, pair, span)
                agreement = agreement_or_vacuous(parity, least_spread)
                text = agreement if agreement in (VACUOUS, NOTHING) else f"{agreement} %"
                charts.right_of(axes, y, text, strong=agreement != "100")
        charts.right_of(axes, -0.5, "agreement", above=True)
        axes.grid(axis="x")
        axes.set_xlabel("rel, logarithmic")
        charts.pair_legend(figure)


def _by_backend(
    models: Sequence[Results], figure: Callable[[Timing], float]
) -> dict[str, list[float | None]]:
    """Return a figure of each model's timing by backend, None where it has no times."""
    timings = [results.benchmark.timings if results.benchmark else {} for results in models]
    return {
        backend: [figure(found[backend]) if backend in found else None for found in timings]
        for backend in BACKENDS
    }


def _failure_kinds(models: Sequence[Results]) -> dict[str, list[str | None]]:
    """Return by backend the kind of each model's failure, None without one."""
    return {
        backend: [results.failures.get(backend, {}).get("kind") for results in models]
        for backend in BACKENDS
    }


def decades_around(values: Sequence[float | None]) -> tuple[float, float]:
    """Return whole decades around all values, with one more to the left if any is exactly 0."""
    positive = [value for value in values if value]
    low = 10.0 ** math.floor(math.log10(min(positive, default=1e-8)) - 0.1)
    high = 10.0 ** math.ceil(math.log10(max(positive, default=1e-6)) + 0.1)
    return (low / 10 if 0 in values else low), high


def _names(models: Sequence[Results]) -> list[str]:
    return [results.model for results in models]


def _images_text(models: Sequence[Results]) -> str:
    """Say how many images the scores are of, by task."""
    counts: dict[str, set[int]] = {}
    for results in models:
        counts.setdefault(results.task, set()).add(results.images)
    return "; ".join(
        f"{task}: {' or '.join(f'{number:,}' for number in sorted(numbers))} images"
        for task, numbers in counts.items()
    )
