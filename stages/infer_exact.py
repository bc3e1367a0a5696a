"""Compute a model's exact answer to the first val images: its logits in float64.

PyTorch runs the network in float64. A model that is an ONNX file from the start has no network, so
ONNX's reference evaluator runs the file.
"""

import argparse
from functools import partial

from parity.backends.float64 import load_float64
from parity.core.cli import log
from parity.core.fingerprints import stamp
from parity.core.params import ModelParams, Params, load_params, of_model
from parity.core.paths import onnx_path
from parity.core.user_code import run
from parity.inference.predictions import EXACT, write_absence
from parity.inference.runner import run_exact
from parity.inference.saved import load_saved_float64
from parity.networks.network import saved_network_stamps
from parity.networks.onnx_file import fixed_batch_size, parse


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.infer_exact", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]
    images = params.exact.images.of(model.task)
    if not images:
        reason = f"turned off: exact.images.{model.task} is 0"
        write_absence(name, EXACT, reason)
        log(f"{name}: no exact answer: {reason}")
        return

    if model.onnx:
        load = partial(load_float64, onnx_path(name))
    else:
        load = partial(load_saved_float64, name, model, params.pytorch.threads)
    size, inputs = batch_size_of(name, model), inputs_of(name, model, params)
    run_exact(name, model, images, size, load, inputs, params.cluster)


def batch_size_of(name: str, model: ModelParams) -> int:
    """One image at a time, as the evaluator keeps every tensor, unless a user's file is fixed to
    another number."""
    if not model.onnx:
        return 1
    path = onnx_path(name)
    return fixed_batch_size(path, parse(path)) or 1


def inputs_of(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    if model.onnx:
        return {"model": stamp(onnx_path(name))}
    return saved_network_stamps(name, model) | {"threads": params.pytorch.threads}


if __name__ == "__main__":
    run(main)
