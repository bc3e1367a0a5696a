"""External data: tensors that an ONNX file keeps in other files, only in its folder or below.

An ONNX file may come from anywhere and name any file of this machine as its data, and OpenCV opens
what it names. So the names are checked before any library follows them.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import Message
from onnx import ModelProto, TensorProto
from onnx_ir import DataType

from parity.core.cli import InputError

NUMBER = "[0-9]{1,19}"  # of bytes
MOST_AXES = 64
LONGEST = 80  # characters of a name in a message


class Place(NamedTuple):
    """Where a tensor's external data is: in bytes of a file."""

    file: Path
    offset: int
    length: int


def places(path: Path, model: ModelProto) -> list[Place]:
    """Return where the external data of all tensors of the ONNX file `path` is.

    Raises InputError, naming the tensor, unless each names bytes of a regular file in the folder of
    `path` or below it, as many as its shape and type need.
    """
    return [place_of(path, tensor) for tensor in tensors(model) if is_external(tensor)]


def load_external_data(path: Path, model: ModelProto) -> None:
    """Read the external data of the ONNX file `path` into `model`; raises InputError as `places`
    does, and where a file cannot be read."""
    for tensor in filter(is_external, tensors(model)):
        place = place_of(path, tensor)
        if tensor.data_location == TensorProto.EXTERNAL:
            try:
                with place.file.open("rb") as file:
                    file.seek(place.offset)
                    tensor.raw_data = file.read(place.length)
            except OSError as error:
                raise InputError(f"{place.file}: cannot be read: {error.strerror}") from None
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")


def tensors(message: Message) -> Iterator[TensorProto]:
    """Yield all tensors of a model: of its graph, of subgraphs, attributes, sparse tensors and
    functions."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for one in value if field.is_repeated else [value]:
            if isinstance(one, TensorProto):
                yield one
            else:
                yield from tensors(one)


def is_external(tensor: TensorProto) -> bool:
    """Whether a tensor names other files, also where it has data of its own besides."""
    return tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data)


def place_of(path: Path, tensor: TensorProto) -> Place:
    """Return where a tensor's external data is; raises InputError as `places` does."""
    keys = [entry.key for entry in tensor.external_data]
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) < len(keys):  # libraries differ in which of them they read
        raise _refusal(path, tensor, f"keys {', '.join(map(shown, keys))}", "expected each once")
    location = entries.get("location", "")
    file = _file_at(path, tensor, location)
    needed = _bytes_needed(tensor)
    if needed is None:
        found = f"shape {tuple(tensor.dims)[:8]}, type {tensor.data_type}"
        raise _refusal(path, tensor, found, "expected a tensor of numbers")
    offset, length = entries.get("offset", "0"), entries.get("length", str(needed))
    size = file.stat().st_size
    if not (
        all(re.fullmatch(NUMBER, text) for text in (offset, length))
        and int(length) == needed
        and int(offset) + needed <= size
    ):
        found = f"offset {shown(offset)}, length {shown(length)} of {shown(location)}"
        expected = f"expected {needed} bytes of its {size}"
        raise _refusal(path, tensor, found, expected)
    return Place(file, int(offset), needed)


def _file_at(path: Path, tensor: TensorProto, location: str) -> Path:
    """Return the file at a location; raises InputError unless it is a regular one inside."""
    file, folder = path.parent / location, path.parent
    try:
        is_inside = file.resolve().is_relative_to(folder.resolve())
        if location and not Path(location).is_absolute() and is_inside and file.is_file():
            return file
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        pass
    expected = f"expected a file in {folder.resolve()} or below it"
    raise _refusal(path, tensor, f"location {shown(location)}", expected)


def _refusal(path: Path, tensor: TensorProto, found: str, expected: str) -> InputError:
    where = f"{path}: tensor {shown(tensor.name)}: external data"
    return InputError(f"{where}: found {found}; {expected}")


def _bytes_needed(tensor: TensorProto) -> int | None:
    """Return the bytes that a tensor's shape and type need, None where they are not of numbers."""
    if len(tensor.dims) > MOST_AXES or any(length < 0 for length in tensor.dims):
        return None
    try:
        return math.ceil(math.prod(tensor.dims) * DataType(tensor.data_type).itemsize)
    except (ValueError, TypeError):  # no such type, or one without a size: a string
        return None


def shown(name: str) -> str:
    """Return a name from an ONNX file as a message of one line shows it."""
    if len(name) > LONGEST:
        return f"{shown(name[:LONGEST])}..."
    return name if name and name.isprintable() else ascii(name)
