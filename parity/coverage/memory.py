"""Limit the memory of a process, and recognise the failures of memory and disk."""

import re
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.cli import InputError
from parity.core.files import DISK_FULL
from parity.core.params import CoverageParams

Result = TypeVar("Result")

# As Python, C++, PyTorch, ONNX Runtime, OpenCV and the dynamic linker phrase it. "memory" alone
# would match PyTorch's memory formats.
RAN_OUT = re.compile(
    r"MemoryError|bad_alloc|out of memory|(not enough|insufficient) memory|"
    r"(can't|cannot|failed to|unable to) allocate|failed to map segment",
    re.IGNORECASE,
)


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


def ran_out(message: str) -> bool:
    """Whether an error's message says that memory ran out."""
    return RAN_OUT.search(message) is not None


def result_or_disk_error(
    folder: Path, function: Callable[..., Result], *arguments: Any
) -> Result | OSError:
    """Return `function(*arguments)`, or the OSError of a full disk or of a missing file in `folder`
    that made it fail, even where the exporter raised another exception from it: such a fault says
    nothing about the model.

    Raises BackendFailure `error` where memory ran out, and otherwise what the function raises.
    """
    try:
        return function(*arguments)
    except Exception as error:
        chain = list(_chain(error))
        for cause in chain:
            if isinstance(cause, OSError) and _is_of_the_disk(cause, folder):
                return OSError(cause.errno, cause.strerror, cause.filename)
        for cause in chain:
            if isinstance(cause, MemoryError) or ran_out(str(cause)):
                message = " ".join(str(cause).split())[:300]
                kind = "" if isinstance(cause, InputError) else type(cause).__name__
                raise BackendFailure("error", ": ".join(filter(None, (kind, message)))) from None
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, its cause or context, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_the_disk(error: OSError, folder: Path) -> bool:
    inside = error.filename is not None and folder in Path(str(error.filename)).parents
    return error.errno in DISK_FULL or (inside and error.errno is not None)
