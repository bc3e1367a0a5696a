"""Run a model in PyTorch over the val split."""

import os

import torch

from parity.backends.contract import Forward
from parity.backends.pytorch import load_pytorch
from parity.core.cli import run
from parity.core.fingerprints import stamp
from parity.core.params import ModelParams, Params
from parity.core.paths import weights_path
from parity.inference.runner import infer
from parity.networks.factory import factory_files
from parity.networks.network import saved_network

# oneDNN, which computes PyTorch's convolutions, keeps what it prepared for each shape of blob: with
# its own 1024, 0.9 GB for fcn_resnet50 on images that all differ in size; with 256, 0.25 GB.
PREPARED = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"}


def load(name: str, model: ModelParams, classes: int, params: Params) -> Forward:
    os.environ.update(PREPARED | os.environ)
    network = saved_network(name, model)
    return load_pytorch(network, params.pytorch)


def inputs(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    found = {
        "weights": stamp(weights_path(name)),
        "model": model.model_dump(),
        "pytorch": params.pytorch.model_dump(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    if model.factory:
        found["factory"] = [stamp(file) for file in factory_files(name, model.factory)]
    return found


def main(argv: list[str] | None = None) -> None:
    infer("pytorch", load, inputs, argv, absent=no_network)


def no_network(model: ModelParams) -> str | None:
    """Why there is nothing to run, if so."""
    return f"there is no PyTorch network of {model.onnx}" if model.onnx else None


if __name__ == "__main__":
    run(main)
