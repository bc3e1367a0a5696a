"""Run a converted model in OpenCV DNN over the val split."""

from stages.common.backends import Forward
from stages.common.cli import run
from stages.common.infer import infer
from stages.common.opencv import load_opencv
from stages.common.params import ModelParams, Params
from stages.common.paths import onnx_path
from stages.common.stamps import stamp


def load(name: str, model: ModelParams, classes: int, params: Params) -> Forward:
    return load_opencv(onnx_path(name), params.opencv)


def inputs(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    return {"model": stamp(onnx_path(name)), "opencv": params.opencv.model_dump()}


def main(argv: list[str] | None = None) -> None:
    infer("opencv", load, inputs, argv)


if __name__ == "__main__":
    run(main)
