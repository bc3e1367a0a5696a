"""Write a model's weights: a linear probe, random, torchvision's own, or a checkpoint."""

import argparse
from pathlib import Path

import torch

from parity.core.cli import log
from parity.core.files import new_file, write_json
from parity.core.fingerprints import stamp
from parity.core.params import ModelParams, load_params, of_model
from parity.core.paths import source_path, weights_path
from parity.core.user_code import run
from parity.networks.factory import factory_files
from parity.networks.light_torchvision import WeightsEnum
from parity.networks.onnx_file import external_data_files, read_onnx_file
from parity.networks.published import published_accuracy
from parity.networks.weights import WeightsSource, check_classes, network_with_weights
from parity.preprocessing.splits import read_classes


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.weights", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]
    classes = len(read_classes(model.preprocess))
    check_classes(name, model, classes)
    if model.onnx:
        path = Path(model.onnx).expanduser()
        files = external_data_files(path, read_onnx_file(path))
        write(name, {}, [path, *files], None)
        log(f"{name}: {path} holds its own weights")
        return
    network, source = network_with_weights(name, model, params, classes)
    published = published_accuracy(source) if isinstance(source, WeightsEnum) else None
    write(name, network.state_dict(), files_outside(name, model, source), published)
    size = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    log(f"{name}: {size:.1f} million parameters, {classes} classes, weights: {model.weights}")


def files_outside(name: str, model: ModelParams, source: WeightsSource) -> list[Path]:
    """Return the checkpoint and the code of the factory, which DVC does not track."""
    checkpoint = [source] if isinstance(source, Path) else []
    return checkpoint + (factory_files(name, model.factory) if model.factory else [])


def write(name: str, state: dict, files: list[Path], published: dict | None) -> None:
    stamps = {str(file): stamp(file) for file in files}
    with new_file(source_path(name)) as source, new_file(weights_path(name)) as weights:
        write_json(source, {"files": stamps, "published": published})
        # Opened here: torch.save of a path would lose the reason of a failed write.
        with weights.open("wb") as file:
            torch.save(state, file)


if __name__ == "__main__":
    run(main)
