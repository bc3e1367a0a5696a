"""Time the forward pass of every backend, in turn on the same blob.

OpenCV runs in a process of its own, so that a crash there does not end this one, and its time is
taken there; one that fails is left out.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import cv2
import numpy as np
import onnxruntime
import torch
from scipy.stats import bootstrap
from tqdm import tqdm

from parity.backends.contract import BackendFailure, Forward, failure_text, reference_of
from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import load_opencv
from parity.backends.pytorch import load_pytorch
from parity.core.cli import log, run
from parity.core.files import write_json
from parity.core.machine import cores, machine
from parity.core.params import (
    BenchmarkParams,
    ModelParams,
    OpenCVParams,
    Params,
    entry,
    load_params,
)
from parity.core.paths import benchmark_path, onnx_path
from parity.networks.network import saved_network
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

# A pool of threads spins for a moment after its work; the next backend starts when it sleeps.
PAUSE_S = 0.02


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.benchmark", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model = entry(params, "models", name)
    blob = first_blob(model, params)
    failures: dict[str, BackendFailure] = {}
    with opened_backends(name, model, params, failures) as backends:
        times = measure(backends, blob, params.benchmark, name, failures)
    result = report(times, len(blob), params.benchmark, params.seed)
    if failures:
        result["failures"] = {key: failure.content() for key, failure in failures.items()}
    result["blob"] = list(blob.shape)
    result["environment"] = environment(params)
    write_json(benchmark_path(name), result)
    medians = ", ".join(f"{backend} {result[backend]['median_ms']:.1f} ms" for backend in times)
    log(f"{name}: blob {blob.shape}: {medians}")
    for backend, failure in failures.items():
        log(f"{name}: {failure_text(backend, failure.content())}")


@contextmanager
def opened_backends(
    name: str, model: ModelParams, params: Params, failures: dict[str, BackendFailure]
) -> Iterator[dict[str, Forward]]:
    """Yield the forward pass of the model in each backend that can run it; why another cannot comes
    into `failures`, unless it is the reference."""
    loads: dict[str, Callable[[], Forward]] = {
        "pytorch": lambda: load_pytorch(saved_network(name, model), params.pytorch),
        "onnxruntime": lambda: load_onnxruntime(onnx_path(name), params.onnxruntime),
        "opencv": lambda: stack.enter_context(isolated_opencv(name, params.opencv)),
    }
    if model.onnx:
        del loads["pytorch"]
    backends = {}
    with ExitStack() as stack:
        for backend, load in loads.items():
            try:
                backends[backend] = load()
            except BackendFailure as failure:
                if backend == reference_of(loads):
                    raise
                failures[backend] = failure
        yield backends


def isolated_opencv(name: str, params: OpenCVParams) -> IsolatedForward:
    return IsolatedForward(load_opencv, onnx_path(name), params, limit_s=params.time_limit)


def first_blob(model: ModelParams, params: Params) -> np.ndarray:
    """The first image of the val split, as often as the batch size says: (N, 3, H, W)."""
    image = Split(model.preprocess, "val", model.task).images(0, 1)
    blob = normalize(image, **read_normalization(model.preprocess))
    return np.repeat(blob, params.benchmark.batch_size.of(model.task), axis=0)


def measure(
    backends: dict[str, Forward],
    blob: np.ndarray,
    params: BenchmarkParams,
    name: str,
    failures: dict[str, BackendFailure],
) -> dict[str, np.ndarray]:
    """Time each backend once a round, so that a slow minute hits all: ms, float64 (runs,) each.

    One that fails is left out from then on, with its times, and comes into `failures`, unless it is
    the reference.
    """
    reference = reference_of(backends)
    times = {backend: np.zeros(params.runs) for backend in backends}
    for number in tqdm(range(-params.warmup, params.runs), desc=name, unit="round", disable=None):
        for backend in tuple(times):
            time.sleep(PAUSE_S)
            try:
                seconds = timed(backends[backend], blob)
            except BackendFailure as failure:
                if backend == reference:
                    raise
                failures[backend] = failure
                del times[backend]
                continue
            if number >= 0:
                times[backend][number] = 1e3 * seconds
    return times


def timed(forward: Forward, blob: np.ndarray) -> float:
    """The seconds of one forward pass; in another process without the way there and back."""
    began = time.perf_counter()
    forward(blob)
    seconds = time.perf_counter() - began
    return forward.seconds if isinstance(forward, IsolatedForward) else seconds


def report(
    times: dict[str, np.ndarray], batch_size: int, params: BenchmarkParams, seed: int
) -> dict:
    """Medians and 95th percentiles by backend, and OpenCV's ratio to the reference with interval.

    The reference is PyTorch, or ONNX Runtime for a model that is an ONNX file from the start.

    The interval is a percentile bootstrap of the ratio of medians (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). Rounds are drawn as pairs: what slowed
    both down is no difference between them. Where OpenCV has no times, ratio and interval are None.
    """
    result: dict = {"batch_size": batch_size, "runs": params.runs}
    for backend, values in times.items():
        median = float(np.median(values))
        result[backend] = {
            "median_ms": median,
            "p95_ms": float(np.percentile(values, 95)),
            "images_per_s": 1e3 * batch_size / median,
        }
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
    result[f"opencv_over_{reference}"] = ratio
    result[f"opencv_over_{reference}_interval"] = {
        "low": low,
        "high": high,
        "confidence": params.confidence,
    }
    return result


def ratio_of_medians(values: np.ndarray, reference: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.median(values, axis=axis) / np.median(reference, axis=axis)


def environment(params: Params) -> dict:
    """What the times depend on beside the model."""
    return machine() | {
        "python": platform.python_version(),
        "pytorch": params.pytorch.model_dump()
        | {"version": torch.__version__, "threads": params.pytorch.threads or cores()}
        | ({"gpu": torch.cuda.get_device_name()} if params.pytorch.device == "cuda" else {}),
        "onnxruntime": {
            "version": onnxruntime.__version__,
            "threads": params.onnxruntime.threads or cores(),
        },
        "opencv": params.opencv.model_dump()
        | {"version": cv2.__version__, "threads": params.opencv.threads or cores()},
    }


if __name__ == "__main__":
    run(main)
