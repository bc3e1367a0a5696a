"""How a stage or tool ends: exit code 0 done, 1 a check failed, 2 wrong input, 130 interrupted."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

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

    A FileNotFoundError ends the same way: stages check the user's files themselves, so the missing
    file is one that an earlier stage writes. A full disk behind stdout is one line as well, and a
    reader of stdout that has left, as `head` does, ends the process quietly with exit code 141.
    """
    try:
        try:
            main()
        finally:
            print(end="", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except FileNotFoundError as error:
        print(f"error: {error.filename}: no such file; `make` writes it", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Python flushes stdout once more at exit, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.EPIPE:
            sys.exit(141)
        print(f"error: {error.strerror.lower()}", file=sys.stderr)
        sys.exit(2)


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
