"""Checkpoints: read a state dict without running code, and load it into a network."""

import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import torch
from torch import nn

from parity.core.cli import InputError
from parity.core.files import open_regular

EXPECTED = "expected a state dict, as written by `torch.save(network.state_dict(), path)`"
AUXILIARY_HEADS = ("aux_classifier.", "aux1.", "aux2.", "AuxLogits.")


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, torch.Tensor]:
    """Read a state dict, at the top level or under `key`, without running code.

    `weights_only=True` unpickles tensors and plain containers alone. Strips the prefix `module.`
    that `torch.nn.DataParallel` adds. Raises InputError when the file is missing, not a regular
    file or damaged, or holds anything else.
    """
    with open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of kinds of tensors that are refused below
        try:
            if found := _another_format(file):
                raise InputError(f"{path}: found {found}; {EXPECTED}")
            state = torch.load(file, map_location="cpu", weights_only=True)
        except InputError:
            raise
        except pickle.UnpicklingError as error:
            raise InputError(f"{path}: {unpickling_reason(error)}") from None
        except Exception as error:  # torch.load raises anything
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"{path}: not a PyTorch checkpoint, or cut off: {reason}") from None
    if key is not None:
        if not isinstance(state, dict) or key not in state:
            found = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
            raise InputError(f"{path}: has no entry {key!r} (checkpoint_key); found {found[:200]}")
        state = state[key]
    if not is_state_dict(state):
        raise InputError(f"{path}: expected a state dict (name: tensor){hint_at_key(state)}")
    if state and all(name.startswith("module.") for name in state):
        metadata = getattr(state, "_metadata", None)
        state = OrderedDict((name.removeprefix("module."), value) for name, value in state.items())
        if metadata is not None:
            names = {name.removeprefix("module").removeprefix("."): name for name in metadata}
            state._metadata = OrderedDict((new, metadata[old]) for new, old in names.items())
    return state


def _another_format(file: BinaryIO) -> str | None:
    """Name the format of a file that torch.load refuses without a clear reason, or that unpacks to
    more than its size, as no file of torch.save does; None for any other file."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(9)
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "a safetensors file"
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            return "a TorchScript archive"
        unpacked = sum(member.file_size for member in members)
        if unpacked > size:
            return f"an archive of {size} bytes that unpacks to {unpacked}"
    file.seek(0)
    return None


def is_state_dict(state: object) -> bool:
    return isinstance(state, dict) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in state.items()
    )


def hint_at_key(state: object) -> str:
    """Return a hint at the entry that may hold the state dict."""
    if not isinstance(state, dict):
        return f"; found {type(state).__name__}"
    keys = [
        key
        for key, value in state.items()
        if isinstance(value, dict) and value and is_state_dict(value)
    ]
    if any(map(torch.is_tensor, state.values())):
        wrong = (
            key for key in state if not isinstance(key, str) or not torch.is_tensor(state[key])
        )
        key = next(wrong)
        return f"; found the entry {key!r}: {type(state[key]).__name__}"
    if not keys:
        return f"; found the entries {', '.join(map(str, state))[:200]}"
    largest = max(keys, key=lambda key: len(state[key]))
    return f"; name the entry that holds it: `checkpoint_key: {largest}`"


def unpickling_reason(error: pickle.UnpicklingError) -> str:
    """Return why a checkpoint was not unpickled, without PyTorch's advice to allow it."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if not found:
        return "not a PyTorch checkpoint, or cut off"
    return f"holds a Python object ({found[1]}), which could run code when it is loaded; {EXPECTED}"


def no_plain_tensor(value: object) -> str | None:
    """Return what an entry of a state dict is, if it is no dense tensor of real numbers in memory;
    None if it is one."""
    if not torch.is_tensor(value):
        return type(value).__name__
    if torch.nn.parameter.is_lazy(value):
        return "a lazy parameter, which has no size before the network runs"
    kinds = {
        "a nested tensor": value.is_nested,
        "a sparse tensor": value.layout != torch.strided,
        "a quantized tensor": value.is_quantized,
        "a meta tensor, which has no values": value.is_meta,
        "complex numbers": value.is_complex(),
    }
    return next((kind for kind, applies in kinds.items() if applies), None)


def load_state(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load a state dict into a network, without the entries of auxiliary heads.

    Numbers are converted to the network's precision. Raises InputError, naming the first entry that
    does not fit.
    """
    expected = network.state_dict()
    metadata = getattr(state, "_metadata", None)  # versions that modules check on loading
    state = OrderedDict(
        (name, value) for name, value in state.items() if not name.startswith(AUXILIARY_HEADS)
    )
    if metadata is not None:
        state._metadata = metadata
    for name, value in expected.items():
        if name not in state and name.endswith(".num_batches_tracked"):
            continue  # older checkpoints lack it, and inference does not need it
        if name not in state:
            raise InputError(f"{source}: has no entry {name}, which the model needs")
        if kind := no_plain_tensor(state[name]):
            raise InputError(f"{source}: {name}: found {kind}; expected a dense tensor of numbers")
        if state[name].shape != value.shape:
            found, wanted = tuple(state[name].shape), tuple(value.shape)
            raise InputError(f"{source}: {name}: found shape {found}; the model needs {wanted}")
        if value.is_floating_point() and not state[name].is_floating_point():
            # Quantised by hand, say: the scale is lost.
            found, wanted = state[name].dtype, value.dtype
            raise InputError(f"{source}: {name}: found {found}; the model needs {wanted}")
    for name in state:
        if name not in expected:
            raise InputError(f"{source}: entry {name} belongs to no layer of the model")
    network.load_state_dict(state, strict=False)  # each entry was checked above
