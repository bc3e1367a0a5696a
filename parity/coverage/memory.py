"""How much memory a process may take, and how to tell that it or the disk was not enough."""

import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from parity.backends.contract import BackendFailure
from parity.core.cli import InputError
from parity.core.files import DISK_FULL

Result = TypeVar("Result")

# In the words of Python, C++, PyTorch, ONNX Runtime, OpenCV and the dynamic linker. Not the word
# memory alone, as PyTorch speaks of memory formats.
RAN_OUT = re.compile(
    r"MemoryError|bad_alloc|out of memory|(not enough|insufficient) memory|"
    r"(can't|cannot|failed to|unable to) allocate|failed to map segment",
    re.IGNORECASE,
)


def limit_memory(gigabytes: float) -> None:
    """Let this process have at most so much memory of its own; what asks for more gets an error.

    What is counted is data: files that are mapped, as PyTorch's libraries, are not.
    """
    limit = int(gigabytes * 1e9)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def with_memory_limit(gigabytes: float, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)`, with the limit set for it and all that follows."""
    limit_memory(gigabytes)
    return function(*arguments)


def ran_out(message: str) -> bool:
    """Whether it is memory that was missing, by the message of the error."""
    return RAN_OUT.search(message) is not None


def told_apart(folder: Path, function: Callable[..., Result], *arguments) -> Result | OSError:
    """Return `function(*arguments)`, or the OSError of a disk that is full or of a file in `folder`
    that is gone, wherever below another exception it lies: it says nothing about the model.

    Raises BackendFailure `error` where memory ran out, and else what the function raises.
    """
    try:
        return function(*arguments)
    except Exception as error:
        below = list(_below(error))
        for one in below:
            if isinstance(one, OSError) and _is_of_the_disk(one, folder):
                return OSError(one.errno, one.strerror, one.filename)
        for one in below:
            if isinstance(one, MemoryError) or ran_out(str(one)):
                words = [] if isinstance(one, InputError) else [type(one).__name__]
                words += [" ".join(str(one).split())[:300]] if str(one) else []
                raise BackendFailure("error", ": ".join(words)) from None
        raise


def _below(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it was raised of, or while they were handled."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_the_disk(error: OSError, folder: Path) -> bool:
    inside = error.filename is not None and folder in Path(str(error.filename)).parents
    return error.errno in DISK_FULL or (inside and error.errno is not None)
