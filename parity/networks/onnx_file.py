"""A model that the user has as an ONNX file: read it, check it, list its data files."""

from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from parity.core.cli import InputError


def read_onnx_file(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; raises InputError when it is missing or not valid."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's errors share no base class
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: not a valid ONNX model: {reason}") from None


def external_data_files(path: Path) -> list[Path]:
    """Return the files beside an ONNX file that hold its large tensors."""
    tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    names = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    return sorted(path.parent / name for name in names)


def fixed_batch_size(path: Path) -> int | None:
    """Return the batch size that the model is fixed to, None when it is dynamic."""
    model = onnx.load(str(path), load_external_data=False)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    axes = inputs[0].type.tensor_type.shape.dim
    return axes[0].dim_value if axes and axes[0].HasField("dim_value") else None
