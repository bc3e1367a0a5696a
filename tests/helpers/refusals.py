"""How a refusal of wrong input looks, and input that is evil."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from parity.core.cli import InputError


@contextmanager
def refused(*parts: object) -> Iterator[list[str]]:
    """Expect an InputError of one line that holds all `parts`; yields a list that it puts into."""
    line: list[str] = []
    with pytest.raises(InputError) as caught:
        yield line
    message = str(caught.value)
    line.append(message)
    missing = [str(part) for part in parts if str(part) not in message]
    if missing or "\n" in message:
        pytest.fail(f"found {message!r}; expected one line with {missing}")


class Code:
    """What a pickle can do to whoever loads it."""

    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)
