"""Run a model in PyTorch over the val split."""

import argparse
from functools import partial

import torch

from parity.core.cli import log
from parity.core.params import ModelParams, Params, load_params, of_model
from parity.core.user_code import run
from parity.inference.predictions import write_absence
from parity.inference.runner import run_backend
from parity.inference.saved import load_saved
from parity.networks.network import saved_network_stamps


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

    load = partial(load_saved, name, model, params.pytorch)
    inputs = inputs_of(name, model, params)
    run_backend("pytorch", name, model, params, load, inputs, failure_is_result=False)


def inputs_of(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    return saved_network_stamps(name, model) | {
        "pytorch": params.pytorch.model_dump(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


if __name__ == "__main__":
    run(main)
