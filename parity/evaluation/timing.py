"""Time the forward passes of several backends in turn, and summarise the times."""

import time
from dataclasses import asdict

import numpy as np
from scipy.stats import bootstrap
from tqdm import tqdm

from parity.backends.contract import BackendFailure, Forward, reference_of
from parity.backends.isolated import IsolatedForward
from parity.core.params import BenchmarkParams
from parity.evaluation.results import RatioInterval, Timing

# A thread pool spins for a moment after its work; the next backend starts once it sleeps.
PAUSE_S = 0.02


def measure(
    backends: dict[str, Forward], blob: np.ndarray, params: BenchmarkParams, name: str
) -> tuple[dict[str, np.ndarray], dict[str, BackendFailure]]:
    """Time each backend once per round, so that a slow minute hits all: ms, float64 (runs,) each.

    A backend that fails in any round has no times but an entry in the failures, which are returned
    beside them. Raises BackendFailure where it is the reference. `name` labels the progress bar.
    """
    reference = reference_of(backends)
    times = {backend: np.zeros(params.runs) for backend in backends}
    failures = {}
    for number in tqdm(range(-params.warmup, params.runs), desc=name, unit="round", disable=None):
        for backend in tuple(times):
            time.sleep(PAUSE_S)
            try:
                seconds = seconds_of(backends[backend], blob)
            except BackendFailure as failure:
                if backend == reference:
                    raise
                failures[backend] = failure
                del times[backend]
                continue
            if number >= 0:
                times[backend][number] = 1e3 * seconds
    return times, failures


def seconds_of(forward: Forward, blob: np.ndarray) -> float:
    """Time one forward pass; in another process without sending the blob and the output."""
    began = time.perf_counter()
    forward(blob)
    seconds = time.perf_counter() - began
    return forward.seconds if isinstance(forward, IsolatedForward) else seconds


def summarise(
    times: dict[str, np.ndarray], batch_size: int, params: BenchmarkParams, seed: int
) -> dict:
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
        "runs": params.runs,
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
