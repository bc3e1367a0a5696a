"""Run a model in PyTorch over the val split."""

import argparse
import os

import torch

from parity.backends.contract import Forward
from parity.backends.pytorch import load_pytorch
from parity.core.cli import log
from parity.core.params import ModelParams, Params, load_params, of_model
from parity.core.user_code import run
from parity.inference.predictions import write_absence
from parity.inference.runner import run_backend
from parity.networks.network import saved_network, saved_network_stamps

# oneDNN, which computes PyTorch's convolutions, caches prepared code for each shape of blob. With
# its default of 1024 entries fcn_resnet50 takes 0.9 GB on images of different sizes; with 256,
# 0.25 GB.
ONEDNN_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.infer_pytorch", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]
    if model.onnx:
        reason = f"there is no PyTorch network of {model.onnx}"
        write_absence(name, "pytorch", reason)
        log(f"{name}: {reason}")
        return

    def load() -> Forward:
        os.environ.update(ONEDNN_CACHE | os.environ)
        return load_pytorch(saved_network(name, model), params.pytorch)

    inputs = inputs_of(name, model, params)
    run_backend("pytorch", name, model, params, load, inputs, failure_is_result=False)


def inputs_of(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    return saved_network_stamps(name, model) | {
        "pytorch": params.pytorch.model_dump(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


if __name__ == "__main__":
    run(main)
