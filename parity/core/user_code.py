"""Run a script that calls the user's code. It has succeeded when it says so at its end, not when
its process ends with exit code 0."""

import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from parity.core import cli
from parity.core.processes import die_with_parent

# Shared by a process and its forks: one byte that says whether the script came to its end, and
# behind it whose code ran last.
NOTE = mmap.mmap(-1, 4096)
UNSAID, SAID = 0, 1
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 1  # for Ctrl-C, which reaches all processes of a terminal by itself


def name_user_code(name: str) -> None:
    """Note whose code runs from now on, for the message where that code ends the process."""
    room = len(NOTE) - 1
    NOTE[1:] = name.encode("utf-8", "replace")[:room].ljust(room, b"\0")


def user_code() -> str:
    """The name that `name_user_code` noted last; empty before."""
    return NOTE[1:].rstrip(b"\0").decode("utf-8", "ignore")


def run(main: Callable[[], None]) -> None:
    """Run `main` as `cli.run` does, for a script that calls the user's code, which may end the
    process: by `sys.exit(0)`, `os._exit(0)`, another program in its place.

    `main` runs in a fork, which says so when it has come to its end; this process waits for it and
    ends in the same way, by the same exit code or signal. Without that word it prints one line that
    names the code, and ends with exit code 2. `main` returns when it is done: a SystemExit with
    code 0 counts as the user's.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until it is known to whom
    child = os.fork()
    if child:
        _end_like(child)
    die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    said = SAID
    try:
        cli.run(main)
    except SystemExit as end:
        if not end.code and user_code():  # `--help` ends so too, before any user's code
            said = UNSAID
        raise
    finally:
        if os.getppid() == parent:  # not a fork that the user's code made
            NOTE[0] = said


def _end_like(child: int) -> None:
    """Wait for the process that runs `main`, pass signals on to it, and end as it does."""

    def pass_on(number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, lambda number, _: pass_on(number))
    signal.signal(signal.SIGINT, lambda *_: signal.alarm(GRACE_S))
    signal.signal(signal.SIGALRM, lambda *_: pass_on(signal.SIGINT))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left its own
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if NOTE[0] != SAID:
        whose = f"{user_code()}: its code" if user_code() else "a library"
        what = f"{whose} ended the process with exit code {code}; expected it to return"
        print(f"error: {what}", file=sys.stderr, flush=True)
        code = 2
    os._exit(code)  # nothing of this process is left to do, or to flush
