"""How much memory a process may take."""

import resource
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


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
