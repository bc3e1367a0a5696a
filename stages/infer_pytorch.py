"""Run a model in PyTorch over the val split."""

from stages.common.backends import Forward
from stages.common.cli import run
from stages.common.infer import infer
from stages.common.networks import load_network, load_pytorch
from stages.common.params import ModelParams, Params
from stages.common.paths import weights_path


def load(name: str, model: ModelParams, classes: int, params: Params) -> Forward:
    network = load_network(weights_path(name), name, model, classes)
    return load_pytorch(network, params.pytorch)


def main(argv: list[str] | None = None) -> None:
    infer("pytorch", load, argv, absent=no_network)


def no_network(model: ModelParams) -> str | None:
    """Why there is nothing to run, if so."""
    return f"there is no PyTorch network of {model.onnx}" if model.onnx else None


if __name__ == "__main__":
    run(main)
