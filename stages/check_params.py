"""Validate the whole of params.yaml before any other stage runs.

The other stages validate it too, but DVC runs them only when a key that they read has changed, and
no stage reads a misspelt key. Every stage depends on this one, even when `dvc repro` runs a single
stage, since DVC passes the names of models, datasets and profiles to a shell.
"""

import argparse
from functools import partial
from pathlib import Path

from parity.backends.opencv import check_opencv
from parity.core.cli import InputError
from parity.core.files import write_text
from parity.core.params import PARAMS, ModelParams, Params, load_params, of_model, setting_key
from parity.core.places import check_inputs, check_places, places
from parity.core.user_code import run

CHECKED = Path("data/checked.txt")


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.check_params", description=__doc__).parse_args(argv)
    params = load_params()
    check_places(params)
    check_opencv(params.opencv)
    for name in params.models:
        check_opencv(of_model(params, name).opencv, partial(setting_key, params, name, "opencv"))
    check_names(params)
    # Constant content, so that no stage reruns because of it.
    write_text(CHECKED, f"{PARAMS} is valid\n")


def check_names(params: Params) -> None:
    """Raise InputError for a device, transform, model, factory or file that does not exist."""
    from parity.backends.pytorch import check_device
    from parity.networks.weights import find_weights
    from parity.preprocessing.profile import resolve

    check_device(params.pytorch)
    for name, profile in params.preprocess.items():
        resolve(name, profile)
    for name, model in params.models.items():
        if model.onnx:
            check_onnx(name, model, params)
            continue
        if model.factory:
            check_factory(name, model.factory, params)
        find_weights(name, model)


def check_factory(name: str, factory: str, params: Params) -> None:
    """Raise InputError for a factory that cannot be imported, or with code where stages write."""
    from parity.networks.factory import factory_files

    key = f"models.{name}.factory"
    check_inputs([(key, file) for file in factory_files(name, factory)], places(params))


def check_onnx(name: str, model: ModelParams, params: Params) -> None:
    """Raise InputError for an ONNX file that is not valid, lacks the output to compare, is fixed to
    another batch size, or has data where stages write."""
    from parity.networks.onnx_file import (
        choose_output,
        external_data_files,
        fixed_batch_size,
        read_onnx_file,
    )

    path = Path(model.onnx).expanduser()
    onnx_model = read_onnx_file(path)
    choose_output(name, model, onnx_model)
    key = f"models.{name}.onnx"
    check_inputs([(key, file) for file in external_data_files(path, onnx_model)], places(params))
    fixed, mine = fixed_batch_size(path, onnx_model), of_model(params, name)
    for section in ("inference", "benchmark"):
        size = getattr(mine, section).batch_size.of(model.task)
        if fixed not in (None, size):
            found = f"found {size}; models.{name}.onnx takes {fixed} at a time"
            advice = f"set models.{name}.{section}.batch_size: {fixed}"
            key = setting_key(params, name, section, "batch_size")
            raise InputError(f"{PARAMS}: {key}: {found}: {advice}")


if __name__ == "__main__":
    run(main)
