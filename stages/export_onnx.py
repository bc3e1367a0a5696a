"""Convert a model to ONNX, with what one needs to know to use the file written into it."""

import argparse
from pathlib import Path

import onnx
import torch

from parity.core.cli import log, run
from parity.core.files import new_file
from parity.core.params import ModelParams, entry, load_params
from parity.core.paths import onnx_path
from parity.networks.export import check_opset, describe, export, metadata, own_metadata
from parity.networks.network import saved_network
from parity.networks.onnx_file import read_onnx_file
from parity.preprocessing.splits import Split, read_classes


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.export_onnx", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model = entry(params, "models", name)
    classes = read_classes(model.preprocess)
    if model.onnx:
        take_onnx(name, model, classes)
        return
    network = saved_network(name, model)
    height, width = Split(model.preprocess, "val", model.task).images(0, 1).shape[1:3]
    with new_file(onnx_path(name)) as partial:
        # The exporter takes an axis of length one for a constant.
        images = 2 if "batch" in params.export.dynamic_axes.of(model.task) else 1
        blob = torch.zeros(images, 3, height, width)
        export(network, blob, partial, params.export, model.task)
        converted = onnx.load(str(partial))
        check_opset(converted, params.export)
        describe(converted, metadata(name, model, params, classes))
        onnx.save(converted, str(partial))
        onnx.checker.check_model(str(partial), full_check=True)
        log(f"{name}: {len(converted.graph.node)} nodes, {partial.stat().st_size / 1e6:.1f} MB")


def take_onnx(name: str, model: ModelParams, classes: list[str]) -> None:
    """Take over a model that is ONNX from the start, with what this project knows of it added."""
    source = Path(model.onnx).expanduser()
    given = read_onnx_file(source)
    describe(given, own_metadata(name, model, classes, given))
    with new_file(onnx_path(name)) as partial:
        onnx.save(given, str(partial))
        log(f"{name}: {len(given.graph.node)} nodes, {partial.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
