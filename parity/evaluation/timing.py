"""Time the forward passes of several backends in turn, and summarise the times."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

import numpy as np
from scipy.stats import bootstrap
from tqdm import tqdm

from parity.backends.contract import LABELS, BackendFailure, Forward, reference_of
from parity.backends.isolated import timed
from parity.core.load import OtherLoad, excess_of_load
from parity.core.params import BenchmarkParams
from parity.evaluation.results import Conditions, RatioInterval, Timing

# A thread pool spins for a moment after its work, and the next backend waits until it is over.
PAUSE_S = 0.005
FEWEST_ROUNDS = 5  # whatever time they take
# A machine that is busy now will be so in a while, and rounds take many times as long on it.
REPEAT_WITHIN_S = 60

Times = dict[str, np.ndarray]  # of each backend: ms, float64 (rounds,)
Failures = dict[str, BackendFailure]


@dataclass(frozen=True)
class Measurement:
    """The times of some rounds, the backends that failed, and what disturbed them.

    `load` is the share of the processors' time that other processes took, in percent, None where
    the system does not count it. `spread` is that of each backend's rounds.
    """

    times: Times
    failures: Failures
    load: float | None

    @property
    def spread(self) -> dict[str, float]:
        return {backend: spread_of(values) for backend, values in self.times.items()}

    def excess(self, params: BenchmarkParams) -> float:
        """Return load or spread over its bound, the larger of both: above 1 is disturbed."""
        spread = max(self.spread.values())
        return max((self.load or 0) / params.max_load, spread / params.max_spread)

    def disturbed(self, params: BenchmarkParams) -> str | None:
        """Say what disturbed the times more than params.yaml allows; None where nothing did."""
        reasons = []
        if reason := excess_of_load(self.load, params.max_load):
            reasons.append(reason)
        wide = {one: spread for one, spread in self.spread.items() if spread > params.max_spread}
        if wide:
            spreads = ", ".join(f"{LABELS[one]} {spread:.0f} %" for one, spread in wide.items())
            reasons.append(f"spread of {spreads} (benchmark.max_spread: {params.max_spread:g})")
        return "; ".join(reasons) or None


def measure_undisturbed(
    measure_once: Callable[[], tuple[Times, Failures]], load: OtherLoad, params: BenchmarkParams
) -> tuple[Measurement, Conditions]:
    """Measure, and again while load or spread is beyond its bound, at most `params.repeats` times
    and not after REPEAT_WITHIN_S.

    Return the least disturbed measurement and its conditions. `load` was started before the
    backends were opened. Its first lap is the load before the rounds, which is not judged.
    """
    before = load.lap()
    found, began = [], time.monotonic()
    while len(found) <= params.repeats:
        found.append(Measurement(*measure_once(), load.lap()))
        if not found[-1].disturbed(params) or time.monotonic() - began > REPEAT_WITHIN_S:
            break
    best = min(found, key=lambda one: one.excess(params))
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return best, Conditions(
        date, before, best.load, best.spread, len(found), best.disturbed(params)
    )


def spread_of(milliseconds: np.ndarray) -> float:
    """Return the interquartile range in percent of the median. One slow round in four leaves it
    as it is, as it does the median."""
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return float(100 * (high - low) / median)


def measure(
    backends: dict[str, Forward], blob: np.ndarray, params: BenchmarkParams, name: str
) -> tuple[Times, Failures]:
    """Time each backend once per round, so that a slow minute hits all: ms, float64 (rounds,) each.

    An untimed forward pass comes first: the one after another backend's finds its threads asleep
    and its memory out of the cache. There are `params.runs` rounds, fewer where they would take
    longer than `params.time_limit`. A backend that fails in any round has no times but an entry in
    the failures, which are returned beside them. Raises BackendFailure where it is the reference.
    `name` labels the progress bar.
    """
    reference = reference_of(backends)
    times: dict[str, list[float]] = {backend: [] for backend in backends}
    failures: Failures = {}
    began = time.monotonic()
    for number in tqdm(range(-params.warmup, params.runs), desc=name, unit="round", disable=None):
        if number == 0:
            began = time.monotonic()
        if time.monotonic() - began > params.time_limit and number >= FEWEST_ROUNDS:
            break
        for backend in tuple(times):
            time.sleep(PAUSE_S)
            try:
                backends[backend](blob)
                _, seconds = timed(backends[backend], blob)
            except BackendFailure as failure:
                if backend == reference:
                    raise
                failures[backend] = failure
                del times[backend]
                continue
            if number >= 0:
                times[backend].append(1e3 * seconds)
    return {backend: np.array(values) for backend, values in times.items()}, failures


def summarise(times: Times, batch_size: int, params: BenchmarkParams, seed: int) -> dict:
    """Return the figures of each backend, and the ratio of OpenCV's median to the reference's.

    The reference is PyTorch, or ONNX Runtime for a model that is an ONNX file from the start. The
    ratio's confidence interval is a percentile bootstrap (Efron and Tibshirani, "An Introduction to
    the Bootstrap", 1993, chapter 13) that draws rounds as pairs: what slows both down is no
    difference between them. Ratio and interval are None where OpenCV has no times.
    """
    reference = reference_of(times)
    ratio = low = high = None
    if "opencv" in times:
        samples = (times["opencv"], times[reference])
        ratio = float(ratio_of_medians(*samples))
        interval = bootstrap(
            samples,
            ratio_of_medians,
            paired=True,
            vectorized=True,
            n_resamples=params.resamples,
            confidence_level=params.confidence / 100,
            method="percentile",
            rng=seed,
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return {
        "batch_size": batch_size,
        "runs": len(times[reference]),
        **{backend: asdict(timing_of(values, batch_size)) for backend, values in times.items()},
        f"opencv_over_{reference}": ratio,
        f"opencv_over_{reference}_interval": asdict(RatioInterval(low, high, params.confidence)),
    }


def timing_of(milliseconds: np.ndarray, batch_size: int) -> Timing:
    median = float(np.median(milliseconds))
    p95 = float(np.percentile(milliseconds, 95))
    return Timing(median_ms=median, p95_ms=p95, images_per_s=1e3 * batch_size / median)


def ratio_of_medians(values: np.ndarray, reference: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.median(values, axis=axis) / np.median(reference, axis=axis)
