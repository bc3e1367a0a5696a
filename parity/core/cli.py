"""How a stage or tool ends: exit code 0 done, 1 a check failed, 2 wrong input, 130 interrupted."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, NoReturn

from parity.core.system_errors import explain

LONGEST_HALF = 400  # characters of an error message, before and after what is left out


class InputError(Exception):
    """Wrong input by the user. The message is one line: the file or key, what was found, what was
    expected.

    A message quotes names and values that others chose. What is not printable is escaped, a line
    break too, and the middle of a long message is left out.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > 2 * LONGEST_HALF:
            text = f"{text[:LONGEST_HALF]} ... {text[-LONGEST_HALF:]}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def last_outputs_left() -> Iterator[None]:
    """When a stage that DVC runs fails, bring back its last outputs, which DVC has deleted."""
    try:
        yield
    except BaseException as error:
        stage, failed = os.environ.get("DVC_STAGE"), getattr(error, "code", 1)
        if stage and failed:
            from parity.core.lockfile import locked_outputs, restore_outputs

            with suppress(InputError, OSError):  # dvc.lock cannot be read
                restore_outputs([one for one in locked_outputs() if one.stage == stage])
        raise


@last_outputs_left()
def run(main: Callable[[], None]) -> None:
    """Run `main` and exit; turn an InputError into one line on stderr and exit code 2.

    What the system refuses ends the same way: see `system_errors.explain`. Stages check the user's
    files themselves, so a missing file is one that an earlier stage writes. A reader of stdout that
    has left, as `head` does, ends the process quietly with exit code 141. Anything else is a defect
    and keeps its traceback.
    """
    try:
        try:
            main()
        finally:
            print(end="", flush=True)
    except InputError as error:
        refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            mute()
            sys.exit(141)
        explanation = explain(error)
        if explanation is None:
            raise
        refuse(explanation)


def refuse(message: str) -> NoReturn:
    """Exit with code 2 and one line on stderr, or without it where stderr cannot be written."""
    with suppress(OSError):
        print(f"error: {InputError(message)}", file=sys.stderr, flush=True)
    mute()
    sys.exit(2)


def mute() -> None:
    """Send stdout and stderr nowhere where they cannot be written: Python flushes them once more at
    exit, and would complain again."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed
        try:
            print(end="", file=stream, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def log(message: str) -> None:
    """Print one line of progress to stderr; stdout is for results."""
    print(message, file=sys.stderr, flush=True)


def wait_for(command: list[str], stdout: IO | None = None) -> int:
    """Run a command and return its exit code. Ctrl-C reaches the command too, which ends by itself:
    a killed DVC would leave its stage running, or half of dvc.lock."""
    import subprocess  # most stages start no command

    process = subprocess.Popen(command, stdout=stdout)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
