"""A model's results as typed values: gathered once, then read by plot, summary and gate.

Nothing here imports NumPy: printing the last verdict must be instant.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from parity.backends.contract import BACKENDS, reference_of
from parity.core.files import read_json, reading, write_json
from parity.core.params import Task
from parity.core.paths import (
    benchmark_path,
    metrics_path,
    results_path,
    source_path,
    stability_path,
)

TIMES = "\N{MULTIPLICATION SIGN}"
ACCURACY_METRICS: dict[Task, str] = {"classification": "acc@1", "segmentation": "mean_iou"}


@dataclass(frozen=True)
class PairParity:
    """How far a candidate's outputs are from its reference's; `scores.Parity` defines the figures.

    An undefined figure is NaN in memory and None once it has been through JSON.
    """

    l1: float | None
    linf: float | None
    rel: float | None
    agreement: float | None
    ties: float | None
    spread: float | None


@dataclass(frozen=True)
class StabilityRun:
    """A repetition of OpenCV's first run: whether it gave the same bits, the relative difference
    where it did not, and the failure that ended it, if any."""

    name: str
    same: bool
    rel: float | None
    failure: dict[str, str] | None


@dataclass(frozen=True)
class Stability:
    """Whether OpenCV gives the same bits in every run; None where every run failed alike."""

    images: int
    method: str
    stable: bool | None
    runs: tuple[StabilityRun, ...]


@dataclass(frozen=True)
class ExactDistance:
    """How far a backend's logits are from those of the network in float64; `exactness.ExactSums`
    defines the figures. An undefined figure is NaN in memory and None once it has been through
    JSON."""

    rel: float | None
    rms: float | None


@dataclass(frozen=True)
class Exactness:
    """The distance of each backend from the exact answer over the first `images` images, and the
    `ratio` of each candidate's to the reference's. Without images, `reason` says why."""

    images: int
    reason: str | None
    distances: dict[str, ExactDistance]
    ratio: dict[str, float | None]

    @property
    def is_known(self) -> bool:
        """Whether any candidate can be judged by it."""
        return any(map(is_number, self.ratio.values()))


@dataclass(frozen=True)
class MendedFile:
    """The rules that mended the file that OpenCV reads, with the number of their places, and
    whether each part of the proof holds that it is the same function."""

    rules: dict[str, int]
    proof: dict[str, bool]

    @property
    def text(self) -> str:
        listed = ", ".join(f"{count} {TIMES} {name}" for name, count in self.rules.items())
        return f"mended: {listed}"


@dataclass(frozen=True)
class Timing:
    """The forward passes of a backend."""

    median_ms: float
    p95_ms: float
    images_per_s: float


@dataclass(frozen=True)
class RatioInterval:
    """The confidence interval of a ratio, at `confidence` percent."""

    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True)
class Conditions:
    """When a benchmark ran, and what else the machine did.

    `load_before` and `load` are what other processes took of the processors' time before and during
    the rounds, in percent, None where the system does not count it. `spread` is the interquartile
    range of each backend's rounds, in percent of their median. `measurements` is how often it was
    measured. `disturbed` says which bound is exceeded, None if none is.
    """

    date: str
    load_before: float | None
    load: float | None
    spread: dict[str, float]
    measurements: int
    disturbed: str | None


@dataclass(frozen=True)
class Benchmark:
    """The timings by backend, the ratio of OpenCV's median to the reference's, and where and how
    they were measured."""

    blob: tuple[int, ...]
    runs: int
    timings: dict[str, Timing]
    ratio: float | None
    ratio_interval: RatioInterval
    conditions: Conditions
    environment: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """Everything measured of a model, by backend or by pair.

    A backend that failed has an entry in `failures` and none in `scores` and `nonfinite`, or none
    in the benchmark's `timings`. Without a `benchmark`, `untimed` says why. `published` is the
    accuracy published with the weights.
    """

    model: str
    task: Task
    images: int
    reference: str
    scores: dict[str, dict[str, float | None]]
    nonfinite: dict[str, int]
    parity: dict[str, PairParity]
    exact: Exactness
    failures: dict[str, dict[str, str]]
    stability: Stability
    benchmark: Benchmark | None
    published: float | None
    mending: MendedFile | None = None
    untimed: str | None = None

    @property
    def metric(self) -> str:
        """The score that stands for the task."""
        return ACCURACY_METRICS[self.task]

    @property
    def accuracy(self) -> dict[str, float | None]:
        """The percentage of `metric` by backend."""
        return {backend: scores[self.metric] for backend, scores in self.scores.items()}

    @property
    def parity_with_reference(self) -> PairParity | None:
        """OpenCV against the reference; None where either has no outputs."""
        return self.parity.get(f"opencv_vs_{self.reference}")

    @property
    def medians(self) -> dict[str, float]:
        """The median time in ms by backend, none without a benchmark."""
        timings = self.benchmark.timings if self.benchmark else {}
        return {backend: timing.median_ms for backend, timing in timings.items()}

    def without_times(self, reason: str) -> "Results":
        return replace(self, benchmark=None, untimed=reason)


_RESULTS, _BENCHMARK, _STABILITY = map(TypeAdapter, (Results, Benchmark, Stability))


def is_number(figure: float | None) -> bool:
    """Whether a figure is defined: neither NaN nor None."""
    return figure is not None and figure == figure


def gather_results(model: str, task: Task, untimed: str | None = None) -> Results:
    """Put together what evaluate, benchmark, stability and weights wrote about a model.

    With `untimed`, the reason why there is no benchmark, its file is not read. Where a backend
    failed both in the evaluation and in the benchmark, the evaluation's failure counts. Raises
    Damaged where one of their files holds something else.
    """
    metrics = read_json(metrics_path(model), _with_outputs)
    published = read_json(source_path(model), lambda source: _published_accuracy(source, task))
    stability = read_json(stability_path(model), _STABILITY.validate_python)
    evaluated = [backend for backend in BACKENDS if backend in metrics]
    reference = reference_of(evaluated)
    benchmark, failures = (None, {}) if untimed else _read_benchmark(model, reference)
    with reading(metrics_path(model)):
        failures |= metrics.get("failures", {})
        return _RESULTS.validate_python(
            {
                "model": model,
                "task": task,
                "images": metrics["images"],
                "reference": reference,
                "scores": {
                    backend: {
                        key: metrics[backend][key] for key in metrics[backend] if key != "nonfinite"
                    }
                    for backend in evaluated
                },
                "nonfinite": {backend: metrics[backend]["nonfinite"] for backend in evaluated},
                "parity": metrics["parity"],
                "exact": _parse_exactness(metrics["exact"]),
                "failures": {one: failures[one] for one in BACKENDS if one in failures},
                "stability": stability,
                "benchmark": benchmark,
                "published": published,
                "mending": metrics.get("mending"),
                "untimed": untimed,
            }
        )


def _read_benchmark(model: str, reference: str) -> tuple[Benchmark, dict[str, dict[str, str]]]:
    """Return what benchmark wrote, and the failures of backends in it."""
    times = read_json(benchmark_path(model))
    with reading(benchmark_path(model)):
        benchmark = _BENCHMARK.validate_python(
            {
                "timings": {backend: times[backend] for backend in BACKENDS if backend in times},
                "ratio": times[f"opencv_over_{reference}"],
                "ratio_interval": times[f"opencv_over_{reference}_interval"],
                **{key: times[key] for key in ("blob", "runs", "conditions", "environment")},
            }
        )
        return benchmark, dict(times.get("failures", {}))


def _with_outputs(metrics: dict) -> dict:
    if not set(BACKENDS) & metrics.keys():
        raise LookupError("no backend has outputs")
    return metrics


def _parse_exactness(exact: dict) -> dict:
    return {
        "images": exact["images"],
        "reason": exact.get("reason"),
        "distances": {backend: exact[backend] for backend in BACKENDS if backend in exact},
        "ratio": exact.get("ratio", {}),
    }


def _published_accuracy(source: dict, task: Task) -> float | None:
    published = source["published"]
    return published["metrics"].get(ACCURACY_METRICS[task]) if published else None


def write_results(results: Results) -> None:
    write_json(results_path(results.model), asdict(results))


def read_results(model: str) -> Results:
    return read_json(results_path(model), _RESULTS.validate_python)
