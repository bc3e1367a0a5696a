"""Run a converted model in ONNX Runtime, the referee, over the val split."""

from parity.backends.contract import Forward
from parity.backends.onnxruntime import load_onnxruntime
from parity.core.cli import run
from parity.core.fingerprints import stamp
from parity.core.params import ModelParams, Params
from parity.core.paths import onnx_path
from parity.inference.runner import infer


def load(name: str, model: ModelParams, classes: int, params: Params) -> Forward:
    return load_onnxruntime(onnx_path(name), params.onnxruntime)


def inputs(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    return {"model": stamp(onnx_path(name)), "onnxruntime": params.onnxruntime.model_dump()}


def main(argv: list[str] | None = None) -> None:
    # Of a model that is an ONNX file from the start it is the reference, without which there is
    # nothing to compare.
    infer("onnxruntime", load, inputs, argv, may_fail=lambda model: not model.onnx)


if __name__ == "__main__":
    run(main)
