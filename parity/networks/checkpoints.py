"""Checkpoints: read a state dict without running code, and load it into a network."""

import pickle
import re
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from parity.core.cli import InputError


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, torch.Tensor]:
    """Read a state dict, at the top level or under `key`, without running code.

    `weights_only=True` unpickles tensors and plain containers alone. Strips the prefix `module.`
    that `torch.nn.DataParallel` adds. Raises InputError when the file is missing or damaged, or
    holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {unpickling_reason(error)}") from None
    except Exception as error:  # torch.load raises anything
        reason = " ".join(str(error).split())[:200]
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


def is_state_dict(state: object) -> bool:
    return isinstance(state, dict) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in state.items()
    )


def hint_at_key(state: object) -> str:
    """Return a hint at the entry that may hold the state dict."""
    if not isinstance(state, dict):
        return f"; found {type(state).__name__}"
    keys = [key for key, value in state.items() if isinstance(value, dict) and is_state_dict(value)]
    if not keys:
        return f"; found the entries {', '.join(map(str, state))[:200]}"
    largest = max(keys, key=lambda key: len(state[key]))
    return f"; name the entry that holds it: `checkpoint_key: {largest}`"


def unpickling_reason(error: pickle.UnpicklingError) -> str:
    """Return why a checkpoint was not unpickled, without PyTorch's advice to allow it."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if not found:
        return "not a PyTorch checkpoint, or cut off"
    return (
        f"holds a Python object ({found[1]}), which could run code when it is loaded; expected "
        "plain tensors, as written by `torch.save(network.state_dict(), path)`"
    )


def load_state(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load a state dict into a network, without the entries of auxiliary heads.

    Raises InputError, naming the first entry that does not fit.
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
        if state[name].shape != value.shape:
            found, wanted = tuple(state[name].shape), tuple(value.shape)
            raise InputError(f"{source}: {name}: found shape {found}; the model needs {wanted}")
    for name in state:
        if name not in expected:
            raise InputError(f"{source}: entry {name} belongs to no layer of the model")
    network.load_state_dict(state, strict=False)  # each entry was checked above


AUXILIARY_HEADS = ("aux_classifier.", "aux1.", "aux2.", "AuxLogits.")
