"""Run a converted model in ONNX Runtime, the referee, over the val split."""

import argparse
from functools import partial

from parity.backends.onnxruntime import load_onnxruntime
from parity.core.cli import run
from parity.core.fingerprints import stamp
from parity.core.params import load_params, of_model
from parity.core.paths import onnx_path
from parity.inference.runner import run_backend


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.infer_onnxruntime", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]

    load = partial(load_onnxruntime, onnx_path(name), params.onnxruntime)
    inputs = {"model": stamp(onnx_path(name)), "onnxruntime": params.onnxruntime.model_dump()}
    # ONNX Runtime is the reference of a user's ONNX file: if it fails, nothing can be compared.
    is_result = not model.onnx
    run_backend("onnxruntime", name, model, params, load, inputs, failure_is_result=is_result)


if __name__ == "__main__":
    run(main)
