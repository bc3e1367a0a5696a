"""Run a converted model in OpenCV DNN over the val split, in a process of its own."""

import argparse
from functools import partial

from parity.backends.isolated import IsolatedForward
from parity.backends.opencv import load_opencv
from parity.core.cli import run
from parity.core.fingerprints import stamp
from parity.core.params import load_params, of_model
from parity.core.paths import mended_path
from parity.inference.runner import run_backend


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.infer_opencv", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]

    backend = (load_opencv, mended_path(name), params.opencv)
    load = partial(IsolatedForward, *backend, limit_s=params.opencv.time_limit)
    inputs = {"model": stamp(mended_path(name)), "opencv": params.opencv.model_dump()}
    run_backend("opencv", name, model, params, load, inputs, failure_is_result=True)


if __name__ == "__main__":
    run(main)
