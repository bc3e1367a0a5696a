"""Results of a model: those of a faithful conversion, and how a test changes them."""

from dataclasses import replace
from pathlib import Path

from helpers.params import changed, write_params
from parity.backends.contract import LABELS
from parity.core.machine import identity
from parity.core.params import Task
from parity.evaluation.results import (
    ACCURACY_METRICS,
    Benchmark,
    Conditions,
    ExactDistance,
    Exactness,
    PairParity,
    RatioInterval,
    Results,
    Stability,
    StabilityRun,
    Timing,
    write_results,
)

EXPORT, ENGINE, SUM = "onnxruntime_vs_pytorch", "opencv_vs_onnxruntime", "opencv_vs_pytorch"
EXACT = Exactness(
    images=8,
    reason=None,
    distances={name: ExactDistance(rel=4e-7, rms=3e-7) for name in LABELS},
    ratio={"onnxruntime": 1.0, "opencv": 1.0},
)
NO_EXACT_ANSWER = Exactness(0, "turned off", {}, {})
EQUAL = PairParity(l1=0.0, linf=1e-5, rel=1e-6, agreement=100.0, ties=0.0, spread=0.5)
SAME_RUN = StabilityRun("again", same=True, rel=0.0, failure=None)
STABLE = Stability(images=2, method="MALLOC_PERTURB_", stable=True, runs=(SAME_RUN,))
NEVER_RAN = replace(STABLE, stable=None, runs=())
REFUSED = {"kind": "refused", "message": "OpenCV 5.0.0: (-215) unknown op Einsum"}

BACKENDS = ("pytorch", "onnxruntime", "opencv")
_ENVIRONMENT = {
    "identity": identity(),
    "cpu": "a processor",
    "cores": 2,
    "pytorch": {"version": "2.15.0", "threads": 2},
    "onnxruntime": {"version": "1.31.1", "threads": 2},
    "opencv": {
        "version": "5.0.0",
        "threads": 2,
        "engine": "auto",
        "backend": "default",
        "target": "cpu",
    },
}
BENCHMARK = Benchmark(
    blob=(1, 3, 64, 64),
    runs=3,
    timings={
        "pytorch": Timing(median_ms=4.0, p95_ms=5.0, images_per_s=250.0),
        "onnxruntime": Timing(median_ms=1.0, p95_ms=1.5, images_per_s=1000.0),
        "opencv": Timing(median_ms=2.0, p95_ms=2.5, images_per_s=500.0),
    },
    ratio=0.5,
    ratio_interval=RatioInterval(low=0.4, high=0.6, confidence=95),
    conditions=Conditions(
        date="2026-01-31T12:00:00+00:00",
        load_before=2.0,
        load=1.0,
        spread=dict.fromkeys(BACKENDS, 3.0),
        measurements=1,
        disturbed=None,
    ),
    environment=_ENVIRONMENT,
)


def faithful(
    accuracy: dict[str, float | None] | None = None,
    parity: dict[str, dict[str, float | None]] | None = None,
    nonfinite: dict[str, int] | None = None,
    task: Task = "classification",
    **changes,
) -> Results:
    """The results of a model without a fault. `accuracy`, `parity` and `nonfinite` change only the
    backends and the figures that they name."""
    accuracy = dict.fromkeys(BACKENDS, 90.0) | (accuracy or {})
    figures = {pair: {} for pair in (SUM, EXPORT, ENGINE)} | (parity or {})
    results = Results(
        model="squeezenet1_1",
        task=task,
        images=100,
        reference="pytorch",
        scores={name: {ACCURACY_METRICS[task]: value} for name, value in accuracy.items()},
        nonfinite=dict.fromkeys(BACKENDS, 0) | (nonfinite or {}),
        parity={pair: replace(EQUAL, **changed) for pair, changed in figures.items()},
        exact=EXACT,
        failures={},
        stability=STABLE,
        benchmark=BENCHMARK,
        published=None,
    )
    return replace(results, **changes)


def on_another_machine(results: Results) -> Results:
    """The same results, timed elsewhere."""
    environment = results.benchmark.environment | {"identity": "0" * 16}
    return replace(results, benchmark=replace(results.benchmark, environment=environment))


def every_pair(**figures: float | None) -> dict[str, dict[str, float | None]]:
    """The same change of figures for all pairs."""
    return {pair: figures for pair in (SUM, EXPORT, ENGINE)}


def without(
    backend: str, kind: str = "refused", message: str = REFUSED["message"], **changes
) -> Results:
    """The results of a model with which a backend failed."""
    results = faithful()
    timings = {key: one for key, one in results.benchmark.timings.items() if key != backend}
    changes = {
        "scores": {key: one for key, one in results.scores.items() if key != backend},
        "nonfinite": {key: one for key, one in results.nonfinite.items() if key != backend},
        "parity": {pair: one for pair, one in results.parity.items() if backend not in pair},
        "exact": replace(
            EXACT,
            distances={key: one for key, one in EXACT.distances.items() if key != backend},
            ratio={key: one for key, one in EXACT.ratio.items() if key != backend},
        ),
        "failures": {backend: {"kind": kind, "message": message}},
        "benchmark": replace(BENCHMARK, timings=timings),
    } | changes
    return replace(results, **changes)


def onnx_only(accuracy: dict[str, float] | None = None, **figures: float | None) -> Results:
    """The results of a model that is an ONNX file from the start; the figures are its pair's."""
    results = faithful(accuracy)
    timings = {key: one for key, one in BENCHMARK.timings.items() if key != "pytorch"}
    return replace(
        results,
        reference="onnxruntime",
        scores={key: one for key, one in results.scores.items() if key != "pytorch"},
        nonfinite={"onnxruntime": 0, "opencv": 0},
        parity={ENGINE: replace(EQUAL, **figures)},
        exact=replace(EXACT, ratio={"opencv": 1.0}),
        benchmark=replace(BENCHMARK, timings=timings),
    )


def write_models(*models: Results) -> None:
    """Write params.yaml with these models alone, and the results of each."""
    entry = changed({})["models"]["squeezenet1_1"]
    write_params(Path(), {"models": {one.model: entry for one in models}})
    for one in models:
        write_results(one)
