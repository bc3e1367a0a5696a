"""Time the forward pass of every backend, in turn on the same blob."""

import argparse
import platform
import time

import cv2
import numpy as np
import onnxruntime
import torch
from scipy.stats import bootstrap
from tqdm import tqdm

from stages.common.backends import Forward, reference_of
from stages.common.cli import log, run
from stages.common.files import write_json
from stages.common.images import normalize
from stages.common.machine import cores, machine
from stages.common.networks import load_network, load_pytorch
from stages.common.onnxruntime import load_onnxruntime
from stages.common.opencv import load_opencv
from stages.common.params import BenchmarkParams, ModelParams, Params, entry, load_params
from stages.common.paths import benchmark_path, onnx_path, weights_path
from stages.common.store import Split, read_classes
from stages.common.transform import read_normalization

# A pool of threads spins for a moment after its work; the next backend starts when it sleeps.
PAUSE_S = 0.02


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.benchmark", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model = entry(params, "models", name)
    blob = first_blob(model, params)
    times = measure(load_backends(name, model, params), blob, params.benchmark, name)
    result = report(times, len(blob), params.benchmark, params.seed)
    result["blob"] = list(blob.shape)
    result["environment"] = environment(params)
    write_json(benchmark_path(name), result)
    medians = ", ".join(f"{backend} {result[backend]['median_ms']:.1f} ms" for backend in times)
    log(f"{name}: blob {blob.shape}: {medians}")


def load_backends(name: str, model: ModelParams, params: Params) -> dict[str, Forward]:
    """The forward pass of the model in each backend that can run it."""
    backends = {}
    if not model.onnx:
        classes = len(read_classes(model.preprocess))
        network = load_network(weights_path(name), name, model, classes)
        backends["pytorch"] = load_pytorch(network, params.pytorch)
    return backends | {
        "onnxruntime": load_onnxruntime(onnx_path(name), params.onnxruntime),
        "opencv": load_opencv(onnx_path(name), params.opencv),
    }


def first_blob(model: ModelParams, params: Params) -> np.ndarray:
    """The first image of the val split, as often as the batch size says: (N, 3, H, W)."""
    image = Split(model.preprocess, "val", model.task).images(0, 1)
    blob = normalize(image, **read_normalization(model.preprocess))
    return np.repeat(blob, getattr(params.benchmark.batch_size, model.task), axis=0)


def measure(
    backends: dict[str, Forward], blob: np.ndarray, params: BenchmarkParams, name: str
) -> dict[str, np.ndarray]:
    """Time each backend once a round, so that a slow minute hits all: ms, float64 (runs,) each."""
    times = {backend: np.zeros(params.runs) for backend in backends}
    for number in tqdm(range(-params.warmup, params.runs), desc=name, unit="round", disable=None):
        for backend, forward in backends.items():
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            forward(blob)
            if number >= 0:
                times[backend][number] = 1e3 * (time.perf_counter() - began)
    return times


def report(
    times: dict[str, np.ndarray], batch_size: int, params: BenchmarkParams, seed: int
) -> dict:
    """Medians and 95th percentiles by backend, and OpenCV's ratio to the reference with interval.

    The reference is PyTorch, or ONNX Runtime for a model that is an ONNX file from the start.

    The interval is a percentile bootstrap of the ratio of medians (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). Rounds are drawn as pairs: what slowed
    both down is no difference between them.
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
    samples = (times["opencv"], times[reference])
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
    result[f"opencv_over_{reference}"] = float(ratio_of_medians(*samples))
    result[f"opencv_over_{reference}_interval"] = {
        "low": float(interval.low),
        "high": float(interval.high),
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
        | {"version": cv2.__version__, "threads": cv2.getNumThreads()},
    }


if __name__ == "__main__":
    run(main)
