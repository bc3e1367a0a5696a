"""Time the forward pass of every backend, in turn on the same blob.

OpenCV runs, and is timed, in a process of its own, so that a crash there does not end this one. A
backend that fails is left out.
"""

import argparse
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import cv2
import numpy as np
import onnxruntime
import torch

from parity.backends.contract import BackendFailure, Forward, failure_text, reference_of
from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import load_opencv
from parity.backends.pytorch import load_pytorch
from parity.core.cli import log
from parity.core.files import write_json
from parity.core.load import OtherLoad
from parity.core.machine import cores, this_machine
from parity.core.params import ModelParams, OpenCVParams, Params, load_params, of_model
from parity.core.paths import benchmark_path, mended_path, onnx_path, rounds_path
from parity.core.user_code import run
from parity.evaluation.timing import measure, measure_undisturbed, summarise
from parity.networks.network import saved_network
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.benchmark", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]
    load = OtherLoad()
    blob = first_image_repeated(model, params)
    with open_backends(name, model, params) as (backends, not_opened):
        found, conditions = measure_undisturbed(
            lambda: measure(backends, blob, params.benchmark, name), load, params.benchmark
        )
    failures = {key: failure.content() for key, failure in (not_opened | found.failures).items()}
    result = summarise(found.times, len(blob), params.benchmark, params.seed)
    result |= {"failures": failures} if failures else {}
    result |= {"blob": list(blob.shape), "conditions": asdict(conditions)}
    write_json(rounds_path(name), {one: times.tolist() for one, times in found.times.items()})
    write_json(benchmark_path(name), result | {"environment": environment(params)})
    medians = ", ".join(f"{one} {result[one]['median_ms']:.1f} ms" for one in found.times)
    log(f"{name}: blob {blob.shape}: {medians}")
    if conditions.disturbed:
        log(f"{name}: disturbed, best of {conditions.measurements}: {conditions.disturbed}")
    for failure in failures.items():
        log(f"{name}: {failure_text(*failure)}")


def first_image_repeated(model: ModelParams, params: Params) -> np.ndarray:
    """Return the first val image, repeated to fill a batch: float32 (N, 3, H, W)."""
    image = Split(model.preprocess, "val", model.task).images(0, 1)
    blob = normalize(image, **read_normalization(model.preprocess))
    return np.repeat(blob, params.benchmark.batch_size.of(model.task), axis=0)


@contextmanager
def open_backends(
    name: str, model: ModelParams, params: Params
) -> Iterator[tuple[dict[str, Forward], dict[str, BackendFailure]]]:
    """Yield the model's forward pass in each backend, and the failures of those that have none.

    Raises BackendFailure where the reference fails.
    """
    loads: dict[str, Callable[[], Forward]] = {
        "pytorch": lambda: load_pytorch(saved_network(name, model), params.pytorch),
        "onnxruntime": lambda: load_onnxruntime(onnx_path(name), params.onnxruntime),
        "opencv": lambda: stack.enter_context(isolated_opencv(name, params.opencv)),
    }
    if model.onnx:
        del loads["pytorch"]
    backends, failures = {}, {}
    with ExitStack() as stack:
        for backend, load in loads.items():
            try:
                backends[backend] = load()
            except BackendFailure as failure:
                if backend == reference_of(loads):
                    raise
                failures[backend] = failure
        yield backends, failures


def isolated_opencv(name: str, params: OpenCVParams) -> IsolatedForward:
    return IsolatedForward(load_opencv, mended_path(name), params, limit_s=params.time_limit)


def environment(params: Params) -> dict:
    """Return what the times depend on besides the model."""
    return this_machine() | {
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
