"""Networks of the user: made by a factory, a function of an importable module."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from parity.core.cli import InputError
from parity.core.fingerprints import loaded_sources
from parity.core.params import PARAMS, ModelParams
from parity.core.user_code import name_user_code

IMPORTED_BEFORE = frozenset(sys.modules)  # any network of the user's


def build_from_factory(name: str, model: ModelParams) -> nn.Module:
    """Call an entry's factory with its arguments; raises InputError when that fails."""
    factory, key = import_factory(name, model.factory), f"{PARAMS}: models.{name}"
    try:
        network = factory(**model.arguments)
    except (Exception, SystemExit) as error:  # the user's code raises anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{key}: {model.factory} raised {reason}") from None
    if not isinstance(network, nn.Module):
        found = f"returned {type(network).__name__}; expected a torch.nn.Module"
        raise InputError(f"{key}.factory: {model.factory} {found}")
    return network


def import_factory(name: str, factory: str) -> Callable:
    """Import `package.module:function`; raises InputError, naming the key, when that fails."""
    key = f"{PARAMS}: models.{name}.factory: {factory}"
    name_user_code(key)
    module, _, function = factory.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except AttributeError:
        raise InputError(f"{key}: the module {module} has no {function}") from None
    except (Exception, SystemExit) as error:  # the user's module raises anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
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
