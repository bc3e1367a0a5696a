"""Limit the memory of a process, and recognise the failures of memory and disk."""

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.cli import InputError
from parity.core.params import CoverageParams
from parity.core.system_errors import DISK_FULL, chain, ran_out

Result = TypeVar("Result")


class OutOfMemory(BackendFailure):
    """What a process could not do within its limit of memory."""

    def __init__(self, message: str, limits: CoverageParams) -> None:
        limit = f"out of memory, limit {limits.memory_limit:g} GB"
        super().__init__("error", f"{limit}: {message}")


class LimitedForward(IsolatedForward):
    """The forward pass of a backend in a process with limits of time and memory.

    Raises OutOfMemory and what IsolatedForward raises.
    """

    def __init__(
        self, limits: CoverageParams, *backend: Any, environment: Mapping[str, str]
    ) -> None:
        """`backend`: the function that loads it, and that function's arguments."""
        self._limits = limits
        options = {"limit_s": limits.time_limit, "environment": environment, "quiet": True}
        with out_of_memory_recognised(limits):
            super().__init__(with_memory_limit, limits.memory_limit, *backend, **options)

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        with out_of_memory_recognised(self._limits):
            return super().__call__(blob)


@contextmanager
def out_of_memory_recognised(limits: CoverageParams) -> Iterator[None]:
    """Raise OutOfMemory for what another process raised when its memory ran out, be it a failure
    (InputError) or a defect (RuntimeError)."""
    try:
        yield
        return
    except (OSError, RuntimeError) as error:
        message = str(error).strip().splitlines()[-1]
        if not ran_out(message):
            raise
    except InputError as error:
        message = str(error)
        killed = getattr(error, "kind", None) in ("crashed", "timeout")
        if killed or not ran_out(message):
            raise
    raise OutOfMemory(message, limits)


def limit_memory(gigabytes: float) -> None:
    """Limit the memory that this process allocates; exceeding it raises an error in the process.

    Only data counts: mapped files, such as PyTorch's libraries, do not.
    """
    limit = int(gigabytes * 1e9)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def with_memory_limit(gigabytes: float, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)`; the limit stays for the rest of the process."""
    limit_memory(gigabytes)
    return function(*arguments)


def result_or_disk_error(
    folder: Path, function: Callable[..., Result], *arguments: Any
) -> Result | OSError:
    """Call `function` and return its result. If a full disk or a missing file in `folder` made it
    fail, return that OSError, even if another exception wraps it: the failure says nothing about
    the model.

    Raises BackendFailure `error` if memory ran out, and otherwise what the function raises.
    """
    try:
        return function(*arguments)
    except Exception as error:
        causes = list(chain(error))
        for cause in causes:
            if isinstance(cause, OSError) and _is_of_the_disk(cause, folder):
                return OSError(cause.errno, cause.strerror, cause.filename)
        for cause in causes:
            if isinstance(cause, MemoryError) or ran_out(str(cause)):
                message = " ".join(str(cause).split())[:300]
                kind = "" if isinstance(cause, InputError) else type(cause).__name__
                raise BackendFailure("error", ": ".join(filter(None, (kind, message)))) from None
        raise


def _is_of_the_disk(error: OSError, folder: Path) -> bool:
    inside = error.filename is not None and folder in Path(str(error.filename)).parents
    return error.errno in DISK_FULL or (inside and error.errno is not None)
