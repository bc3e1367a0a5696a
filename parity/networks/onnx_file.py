"""A model that is an ONNX file from the start: read, checked, and what it needs to run."""

from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from parity.core.cli import InputError


def read_onnx_file(path: Path) -> onnx.ModelProto:
    """Read an ONNX file of the user's; raises InputError when it is missing or not valid."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return onnx.load(str(path))
    except Exception as error:  # of protobuf or of onnx's checker, which have no common base
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: not a valid ONNX model: {reason}") from None


def external_data_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its large tensors."""
    tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    names = {ExternalDataInfo(one).location for one in tensors if uses_external_data(one)}
    return sorted(path.parent / name for name in names)


def fixed_batch_size(path: Path) -> int | None:
    """The number of images that the model takes at a time, None where that is free."""
    model = onnx.load(str(path), load_external_data=False)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    sides = inputs[0].type.tensor_type.shape.dim
    return sides[0].dim_value if sides and sides[0].HasField("dim_value") else None
