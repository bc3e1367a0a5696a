"""Run a converted model in OpenCV DNN over the val split, in a process of its own."""

from parity.backends.isolated import IsolatedForward
from parity.backends.opencv import load_opencv
from parity.core.cli import run
from parity.core.fingerprints import stamp
from parity.core.params import ModelParams, Params
from parity.core.paths import onnx_path
from parity.inference.runner import infer


def load(name: str, model: ModelParams, classes: int, params: Params) -> IsolatedForward:
    limit_s = params.opencv.time_limit
    return IsolatedForward(load_opencv, onnx_path(name), params.opencv, limit_s=limit_s)


def inputs(name: str, model: ModelParams, params: Params) -> dict[str, object]:
    return {"model": stamp(onnx_path(name)), "opencv": params.opencv.model_dump()}


def main(argv: list[str] | None = None) -> None:
    infer("opencv", load, inputs, argv, may_fail=lambda model: True)


if __name__ == "__main__":
    run(main)
