"""A model that the user has as an ONNX file: read it, check it, list its data files."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, ValueInfoProto

from parity.core.cli import InputError, log
from parity.core.files import read_regular
from parity.core.params import PARAMS, ModelParams
from parity.networks.external_data import places, shown

# Of a protobuf message. models/<model>/model.onnx is a single one, with its external data.
LARGEST = 2**31
DOMAIN = ("", "ai.onnx")  # the two names of ONNX's own operators
MOST_NAMES = 10  # in a message
NO_NUMBERS = (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def parse(path: Path) -> ModelProto:
    """Read an ONNX file without its external data, whose place is checked.

    Raises InputError when it is not a regular file, not a protobuf message of a model, or larger
    than such a message can be, and when external data is refused by `places`.
    """
    content = read_regular(path, LARGEST - 1)
    try:
        model = ModelProto.FromString(content)
    except DecodeError as error:
        raise InputError(f"{path}: not a valid ONNX file: {_one_line(error)}") from None
    if not model.HasField("graph"):  # as in an empty file
        raise InputError(f"{path}: not a valid ONNX file: it holds no graph")
    data = sum(place.length for place in places(path, model))
    _check_size(path, len(content) + data)
    return model


def _check_size(path: Path, size: int) -> None:
    if size >= LARGEST:
        found = f"found {size / 1e9:.2f} GB with its external data"
        raise InputError(f"{path}: {found}; expected less than {LARGEST / 1e9:.2f} GB")


def read_onnx_file(path: Path) -> ModelProto:
    """Read an ONNX file, without its external data, of a network with one blob as input.

    Raises InputError when it is missing or not valid, has no operators of ONNX's own, no output, or
    not exactly one input, float32 (N, 3, H, W).
    """
    model = parse(path)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # onnx's errors share no base class
        raise InputError(f"{path}: not a valid ONNX model: {_one_line(error)}") from None
    domains = [entry.domain for entry in model.opset_import]
    if not set(DOMAIN).intersection(domains):
        found = f"found operators of {', '.join(map(shown, sorted(domains))) or 'no domain'} only"
        raise InputError(f"{path}: {found}; expected ONNX's own, in opset_import")
    check_outputs(path, model)
    axes = network_input(path, model).type.tensor_type.shape.dim
    channels = axes[1].dim_value if len(axes) == 4 and axes[1].HasField("dim_value") else 3
    if len(axes) != 4 or channels != 3:
        lengths = (str(axis.dim_value or axis.dim_param or "any") for axis in axes)
        found = f"found an input ({', '.join(map(shown, lengths))})"
        raise InputError(f"{path}: {found}; expected images, (N, 3, H, W)")
    return model


def network_input(path: Path, model: ModelProto) -> ValueInfoProto:
    """Return the only input that a user feeds; raises InputError unless it is one, of float32."""
    weights = {tensor.name for tensor in model.graph.initializer}  # old files list these as inputs
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        found = f"found {len(inputs)} inputs: {_names(inputs)}" if inputs else "found no input"
        raise InputError(f"{path}: {found}; expected one")
    kind = type_name(inputs[0])
    if kind != "float":
        found = f"found input {shown(inputs[0].name)} of type {kind}"
        raise InputError(f"{path}: {found}; expected float (32 bit)")
    return inputs[0]


def check_outputs(path: Path, model: ModelProto) -> None:
    """Raise InputError unless nodes compute a model's outputs, all of them tensors of real
    numbers."""
    computed = {name for node in model.graph.node for name in node.output}
    if computed.isdisjoint(value.name for value in model.graph.output):
        raise InputError(f"{path}: found no output that a node computes; expected one or more")
    for value in model.graph.output:
        tensor_type = value.type.tensor_type
        if not value.type.HasField("tensor_type") or tensor_type.elem_type in NO_NUMBERS:
            found = f"found output {shown(value.name)} of type {type_name(value)}"
            raise InputError(f"{path}: {found}; expected a tensor of real numbers")


def type_name(value: ValueInfoProto) -> str:
    """Return the name of a tensor's element type, or the kind of a value that is no tensor."""
    kind = value.type.WhichOneof("value") or "undefined"
    if kind != "tensor_type":
        return kind.removesuffix("_type")
    number = value.type.tensor_type.elem_type
    names = TensorProto.DataType
    return names.Name(number).lower() if number in names.values() else f"number {number}"


def choose_output(name: str, model: ModelParams, onnx_model: ModelProto) -> str:
    """Return the output of a user's ONNX file that its entry's `output` names, by default the
    first; log the choice where there are several.

    Raises InputError when the file has no such output.
    """
    names, entry = [value.name for value in onnx_model.graph.output], model.output
    if isinstance(entry, int) and entry < len(names):
        return names[entry]
    if entry in names:
        return entry
    listed = f"{model.onnx} has {len(names)} outputs ({_names(onnx_model.graph.output)})"
    if entry is not None:
        raise InputError(f"{PARAMS}: models.{name}.output: found {entry!r}; {listed}")
    if len(names) > 1:
        log(f"{name}: {listed}; {shown(names[0])} is compared: models.{name}.output names another")
    return names[0]


def external_data_files(path: Path, model: ModelProto) -> list[Path]:
    """Return the files beside an ONNX file that hold its large tensors."""
    return sorted({place.file for place in places(path, model)})


def fixed_batch_size(path: Path, model: ModelProto) -> int | None:
    """Return the batch size that the model is fixed to, None when it is dynamic."""
    axes = network_input(path, model).type.tensor_type.shape.dim
    return axes[0].dim_value if axes and axes[0].HasField("dim_value") else None


def _names(values: Sequence[ValueInfoProto]) -> str:
    more = ", ..." if len(values) > MOST_NAMES else ""
    return ", ".join(shown(value.name) for value in values[:MOST_NAMES]) + more


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
