"""The reference of a model, for tools that run it outside the pipeline."""

from typing import NamedTuple

from parity.backends.contract import Forward
from parity.core.params import Params
from parity.core.paths import onnx_path


class Reference(NamedTuple):
    """The name of a backend, the version of its library, and its forward pass."""

    backend: str
    version: str
    forward: Forward


def load_reference(name: str, params: Params) -> Reference:
    """Load the reference: PyTorch, or ONNX Runtime for a model that starts as an ONNX file."""
    model = params.models[name]
    if model.onnx:
        import onnxruntime

        from parity.backends.onnxruntime import load_onnxruntime

        forward = load_onnxruntime(onnx_path(name), params.onnxruntime)
        return Reference("onnxruntime", onnxruntime.__version__, forward)
    import torch

    from parity.backends.pytorch import load_pytorch
    from parity.networks.network import saved_network

    forward = load_pytorch(saved_network(name, model), params.pytorch)
    return Reference("pytorch", torch.__version__, forward)
