"""Networks of the user: made by a factory, a function of an importable module."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from torch import nn

from parity.core.cli import InputError
from parity.core.fingerprints import is_users, loaded_sources
from parity.core.params import PARAMS, ModelParams
from parity.core.user_code import name_user_code
from parity.networks.checkpoints import no_plain_tensor

IMPORTED_BEFORE = frozenset(sys.modules)  # any network of the user's


def build_from_factory(name: str, model: ModelParams, section: str = "models") -> nn.Module:
    """Call the factory of an entry of a section of params.yaml with its arguments.

    Raises InputError when that fails, or returns anything else than a network whose state dict
    holds dense tensors of numbers.
    """
    key = f"{PARAMS}: {section}.{name}.factory: {model.factory}"
    factory = import_factory(name, model.factory, section)
    try:
        network = factory(**model.arguments)
        state = network.state_dict() if isinstance(network, nn.Module) else {}
    except (Exception, SystemExit) as error:  # the user's code raises anything
        raise InputError(f"{key} raised {reason_of(error)}") from None
    if not isinstance(network, nn.Module):
        found = f"returned {type(network).__name__}; expected a torch.nn.Module"
        raise InputError(f"{key} {found}")
    for entry, value in state.items():
        if kind := no_plain_tensor(value):
            found = f"returned a network whose {entry} is {kind}"
            raise InputError(f"{key} {found}; expected a dense tensor of numbers")
    return network


def reason_of(error: BaseException) -> str:
    """Return type and message of an error that the user's code raised, and where in that code: the
    last line outside of Python's library, the installed packages and this project."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    calls = traceback.extract_tb(error.__traceback__)
    own = [call for call in calls if is_users(Path(call.filename))]
    return f"{text} ({own[-1].filename}:{own[-1].lineno})" if own else text


def import_factory(name: str, factory: str, section: str = "models") -> Callable:
    """Import `package.module:function`; raises InputError, naming the key, when that fails."""
    key = f"{PARAMS}: {section}.{name}.factory: {factory}"
    name_user_code(key)
    module, _, function = factory.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except AttributeError:
        raise InputError(f"{key}: the module {module} has no {function}") from None
    except (Exception, SystemExit) as error:  # the user's module raises anything
        reason = reason_of(error)
        hint = "Python looks in this folder, PYTHONPATH and the packages of .venv"
        raise InputError(f"{key}: cannot be imported ({reason}); {hint}") from None


def factory_files(name: str, factory: str) -> list[Path]:
    """Return the source files that the factory's network is built from: those of its package, and
    of every other module that this process has imported since, from outside of Python's library,
    the installed packages and this project."""
    import_factory(name, factory)
    package = factory.partition(":")[0].partition(".")[0]
    modules = [sys.modules[key] for key in sys.modules if key.partition(".")[0] == package]
    files = {Path(file) for module in modules if (file := getattr(module, "__file__", None))}
    return sorted(files.union(loaded_sources(IMPORTED_BEFORE)))
