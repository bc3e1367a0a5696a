"""Measure the yardstick of exactness on torchvision's models with random weights: how far PyTorch,
ONNX Runtime and OpenCV are from float64, and whether ONNX's reference evaluator gives the same
float64 as PyTorch. Prints a row for each model and exporter."""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch

from parity.backends.contract import BackendFailure, Forward
from parity.backends.float64 import load_float64
from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import engines, load_opencv
from parity.backends.pytorch import load_pytorch, load_pytorch_float64
from parity.core.cli import InputError, log, run
from parity.core.markdown import difference_text, markdown_table, ratio_text
from parity.core.params import BackendParams, Params, PyTorchParams, Task, load_params
from parity.coverage.reference import DYNAMIC, parse_size
from parity.coverage.selection import EXPORTERS
from parity.coverage.synthetic_images import patterns
from parity.coverage.zoo import zoo_models, zoo_network
from parity.evaluation.exactness import ExactSums, exactness_ratios
from parity.evaluation.results import ExactDistance
from parity.networks.export import export
from parity.networks.network import Logits

HEADER = ["model", "exporter", "PyTorch", "file", "ORT", "ORT to file", "factor"]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.exactness", description=__doc__)
    parser.add_argument("models", nargs="+", help="names of torchvision's models")
    parser.add_argument("--images", type=int, default=2, metavar="N", help="a model; default 2")
    arguments = parser.parse_args(argv)
    if arguments.images < 1:
        raise InputError(f"--images: found {arguments.images}; expected at least 1")

    params = load_params()
    torch.set_num_threads(1)  # as in `make coverage`: the same figures on any number of cores
    known = zoo_models(params.coverage.max_parameters)
    if unknown := [name for name in arguments.models if name not in known]:
        raise InputError(f"{unknown[0]}: not one of the models that `make coverage` tries")
    rows = []
    for name in arguments.models:
        for row in measure(name, known[name], arguments.images, params):
            rows.append(row)
            log("  ".join(row))
    columns = [*HEADER, *(engine for engine in measured_engines())]
    print(markdown_table([columns, *rows], left=2), end="")


def measured_engines() -> list[str]:
    return [engine for engine in engines() if engine != "auto"]


def measure(name: str, task: Task, images: int, params: Params) -> list[list[str]]:
    """Return the cells of a model, a row for each exporter."""
    size = parse_size(params.coverage.sizes.of(task)[0])
    blobs = [blob[None] for blob in patterns(images, *size, params.seed)]
    network = Logits(zoo_network(name, task, size, params)).eval()
    reference = outputs(
        lambda: load_pytorch(network, PyTorchParams(device="cpu", threads=1)), blobs
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = {exporter: Path(folder, f"{exporter}.onnx") for exporter in EXPORTERS}
        for exporter, path in files.items():
            how = params.export.model_copy(update={"exporter": exporter, "dynamic_axes": DYNAMIC})
            try:
                export(network, torch.zeros(2, 3, *size), path, how, task)
            except InputError as error:
                log(f"{name}: {error}")
        exact = outputs(lambda: load_pytorch_float64(network, 1), blobs)
        for exporter, path in files.items():
            if path.exists():
                cells = compare(path, blobs, reference, exact, params)
                rows.append([name, exporter, *cells])
    return rows


def compare(
    path: Path,
    blobs: list[np.ndarray],
    reference: list[np.ndarray],
    exact: list[np.ndarray],
    params: Params,
) -> list[str]:
    """Return the figures of one ONNX file, as cells."""
    own = distance(reference, exact)
    onnxruntime = outputs(lambda: load_onnxruntime(path, BackendParams(threads=1)), blobs)
    true = distance(onnxruntime, exact)
    evaluated = outputs(lambda: load_float64(path), blobs)
    estimate = distance(onnxruntime, evaluated)
    cells = [difference_text(one.rms) for one in (own, distance(evaluated, exact), true, estimate)]
    cells.append(ratio_text(estimate.rms / true.rms))
    for engine in measured_engines():
        how = params.opencv.model_copy(update={"engine": engine, "threads": 1})

        def load(how=how) -> Forward:
            return IsolatedForward(load_opencv, path, how, limit_s=how.time_limit, quiet=True)

        opencv = distance(outputs(load, blobs), exact)
        ratio = exactness_ratios({"pytorch": own, "opencv": opencv}, "pytorch")["opencv"]
        cells.append(ratio_text(ratio))
    return cells


def outputs(load: Callable[[], Forward], blobs: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return the logits of each blob; none where the backend fails."""
    try:
        loaded = load()
        is_process = isinstance(loaded, AbstractContextManager)
        with loaded if is_process else nullcontext(loaded) as forward:
            return [forward(blob) for blob in blobs]
    except BackendFailure as failure:
        log(str(failure))
        return []


def distance(logits: list[np.ndarray], exact: list[np.ndarray]) -> ExactDistance:
    sums = ExactSums()
    if not logits or not exact:
        return ExactDistance(float("nan"), float("nan"))
    for one, other in zip(logits, exact, strict=True):
        if one.shape != other.shape:
            return ExactDistance(float("nan"), float("nan"))
        sums.update(one, other)
    return sums.distance()


if __name__ == "__main__":
    run(main)
