"""First stage of all: params.yaml as a whole, so that a typo stops the run before anything ran.

The other stages validate it too, but DVC runs them only when a key changed that they read, and
no stage reads a misspelt one.
"""

import argparse

from stages.common.cli import run
from stages.common.opencv import check_opencv
from stages.common.params import Params, load_params


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.check_params", description=__doc__).parse_args(argv)
    params = load_params()
    check_opencv(params.opencv)
    _check_what_torch_knows(params)


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
