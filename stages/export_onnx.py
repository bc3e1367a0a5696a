"""Write a model's ONNX file, with what a user of the file needs in its metadata."""

import argparse
from pathlib import Path

import onnx
import torch

from parity.core.cli import InputError, log
from parity.core.files import new_file
from parity.core.params import ModelParams, Params, load_params, of_model, setting_key
from parity.core.paths import onnx_path
from parity.core.user_code import run
from parity.graphs.extraction import keep_output
from parity.networks.export import (
    check_opset,
    export,
    export_metadata,
    extended_metadata,
    write_metadata,
)
from parity.networks.external_data import load_external_data
from parity.networks.network import saved_network
from parity.networks.onnx_file import choose_output, read_onnx_file
from parity.preprocessing.splits import Split, read_classes


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.export_onnx", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    everything = load_params()
    params = of_model(everything, name)
    model = params.models[name]
    classes = read_classes(model.preprocess)
    with new_file(onnx_path(name)) as partial:
        if model.onnx:
            onnx_model = given_model(name, model)
            write_metadata(onnx_model, extended_metadata(name, model, classes, onnx_model))
        else:
            onnx_model = export_network(name, model, params, partial)
            check_opset(onnx_model, params.export, setting_key(everything, name, "export", "opset"))
            write_metadata(onnx_model, export_metadata(name, model, params, classes))
        onnx.save(onnx_model, str(partial))
        onnx.checker.check_model(str(partial), full_check=True)
    size = onnx_path(name).stat().st_size / 1e6
    log(f"{name}: {len(onnx_model.graph.node)} nodes, {size:.1f} MB")


def given_model(name: str, model: ModelParams) -> onnx.ModelProto:
    """Return the model of the user's ONNX file, complete, with the one output to compare."""
    path = Path(model.onnx).expanduser()
    onnx_model = read_onnx_file(path)
    load_external_data(path, onnx_model)
    keep_output(onnx_model, choose_output(name, model, onnx_model))
    return onnx_model


def export_network(name: str, model: ModelParams, params: Params, path: Path) -> onnx.ModelProto:
    """Export the network to `path`, and return the model."""
    network = saved_network(name, model)
    height, width = Split(model.preprocess, "val", model.task).images(0, 1).shape[1:3]
    # The exporter takes an axis of length one for a constant.
    images = 2 if "batch" in params.export.dynamic_axes.of(model.task) else 1
    try:
        export(network, torch.zeros(images, 3, height, width), path, params.export, model.task)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return onnx.load(str(path))


if __name__ == "__main__":
    run(main)
