"""First stage of all: params.yaml as a whole, so that a typo stops the run before anything ran.

The other stages validate it too, but DVC runs them only when a key changed that they read, and
no stage reads a misspelt one. All stages follow from this one, also where `dvc repro` is told a
single one: DVC hands the names of models, datasets and profiles to a shell.
"""

import argparse
from pathlib import Path

from stages.common.cli import run
from stages.common.files import write_text
from stages.common.opencv import check_opencv
from stages.common.params import PARAMS, Params, load_params

CHECKED = Path("data/checked.txt")


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.check_params", description=__doc__).parse_args(argv)
    params = load_params()
    check_opencv(params.opencv)
    _check_what_torch_knows(params)
    # Always the same, so that nothing reruns because of it.
    write_text(CHECKED, f"{PARAMS} is valid\n")


def _check_what_torch_knows(params: Params) -> None:
    from stages.common.networks import check_device, check_name, import_factory
    from stages.common.transform import resolve

    check_device(params.pytorch)
    for name, profile in params.preprocess.items():
        resolve(name, profile)
    for name, model in params.models.items():
        if model.factory:
            import_factory(name, model.factory)
        elif not model.onnx:
            check_name(name, model.task)


if __name__ == "__main__":
    run(main)
