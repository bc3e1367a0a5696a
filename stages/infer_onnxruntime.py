"""Run a converted model in ONNX Runtime, the referee, over the val split."""

from stages.common.backends import Forward
from stages.common.cli import run
from stages.common.infer import infer
from stages.common.onnxruntime import load_onnxruntime
from stages.common.params import ModelParams, Params
from stages.common.paths import onnx_path
from stages.common.stamps import stamp


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
