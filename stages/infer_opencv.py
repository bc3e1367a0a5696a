"""Run a converted model in OpenCV DNN over the val split."""

from stages.common.backends import Forward
from stages.common.cli import run
from stages.common.infer import infer
from stages.common.opencv import load_opencv
from stages.common.params import ModelParams, Params
from stages.common.paths import onnx_path


def load(name: str, model: ModelParams, classes: int, params: Params) -> Forward:
    return load_opencv(onnx_path(name), params.opencv)


def main(argv: list[str] | None = None) -> None:
    infer("opencv", load, argv)


if __name__ == "__main__":
    run(main)
