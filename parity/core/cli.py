"""How a stage ends: 0 done, 1 a check failed, 2 wrong input, 130 interrupted."""

import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # of Linux's prctl


class InputError(Exception):
    """Wrong input of the user's. The message is one line: the file or key, what was found, what
    was expected."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main` and exit; an InputError becomes one line on stderr and exit code 2.

    So does a missing file: a stage checks the user's files itself, so that what is left is one
    that an earlier stage should have written.
    """
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except FileNotFoundError as error:
        print(f"error: {error.filename}: no such file; `make` writes it", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def end_with(parent: int) -> None:
    """Let the system kill this process as soon as the one that started it has ended, as a `kill`
    ends it: what hangs or computes here nobody else would end. Linux alone can."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it had ended before it could be asked for
        os.kill(os.getpid(), signal.SIGKILL)


def log(message: str) -> None:
    """Write one line for the person who watches; stdout is kept for results."""
    print(message, file=sys.stderr, flush=True)
