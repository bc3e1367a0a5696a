"""Run a converted model in OpenCV DNN over the val split, in a process of its own."""

from stages.common.cli import run
from stages.common.infer import infer
from stages.common.isolated import IsolatedForward
from stages.common.opencv import load_opencv
from stages.common.params import ModelParams, Params
from stages.common.paths import onnx_path
from stages.common.stamps import stamp


def load(name: str, model: ModelParams, classes: int, params: Params) -> IsolatedForward:
    limit_s = params.opencv.time_limit
    return IsolatedForward(load_opencv, onnx_path(name), params.opencv, limit_s=limit_s)


def inputs(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    return {"model": stamp(onnx_path(name)), "opencv": params.opencv.model_dump()}


def main(argv: list[str] | None = None) -> None:
    infer("opencv", load, inputs, argv, may_fail=lambda model: True)


if __name__ == "__main__":
    run(main)
