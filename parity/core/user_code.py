"""Run scripts that call the user's code. Such a script succeeds only if it notes that it reached
its end. Exit code 0 proves nothing: `os._exit(0)` in a factory gives it too.

Begin with `supervise`.
"""

import atexit
import ctypes
import gc
import io
import mmap
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from parity.core import cli

# Shared by a process and its forks: the script's flags, then the name of the user's code that it
# called last.
NOTE = mmap.mmap(-1, 4096)
AT_ITS_END, INTERRUPTED, NAME = 0, 1, 2  # places in NOTE
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 0.1  # for Ctrl-C, which reaches all processes of a terminal by itself
# Allocations between garbage collections. Python's default, 700, costs a quarter of the time of
# importing PyTorch or exporting a network, and frees little.
OBJECTS_BEFORE_COLLECTION = 20_000
# Files that Python writes when it takes them apart at its end; a text file writes to a binary one.
WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)

_supervised = False  # in the fork that runs the script


def supervise() -> None:
    """Fork, if this is the start of `python -m`: the script runs in the fork, and this process ends
    as the fork does, by the same exit code or signal.

    Where the script called the user's code and did not come to its end, this process prints one
    line that names the code, and ends with exit code 2. The packages of scripts call this before
    anything large is imported: libraries start threads, which a fork does not copy.
    """
    if sys.argv[0] != "-m":  # as Python has it while it looks for the module
        return
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until it is known to whom
    child = os.fork()
    if child:
        _end_like(child)
    from parity.core.processes import die_with_parent  # which the waiting process does without

    global _supervised
    _supervised = True
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    die_with_parent(parent)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)


def name_user_code(name: str) -> None:
    """Note whose code the script calls from now on."""
    room = len(NOTE) - NAME
    NOTE[NAME:] = name.encode("utf-8", "replace")[:room].ljust(room, b"\0")


def user_code() -> str:
    """The name that `name_user_code` noted last; empty before."""
    return NOTE[NAME:].rstrip(b"\0").decode("utf-8", "ignore")


def run(main: Callable[[], None]) -> None:
    """Run `main` as `cli.run` does, and say so when it has come to its end.

    `main` returns when it is done: once the user's code was called, a SystemExit with code 0 counts
    as that code's.
    """
    process = os.getpid()
    try:
        cli.run(main)
    except SystemExit as end:
        if not end.code and user_code():
            process = 0
        raise
    finally:
        if process == os.getpid():  # not a fork that the user's code made
            NOTE[AT_ITS_END] = True
    if _supervised and process == os.getpid():
        _end()


def _end() -> NoReturn:
    """End the process with exit code 0 as Python does, but leave its memory to the system: Python
    would take apart what it imported, a second's work once PyTorch is there."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    cli.mute()  # flushes, or finds that nobody reads
    left_open = gc.get_objects()
    for kind in WRITERS:
        for file in left_open:
            if type(file) is kind:
                with suppress(Exception):  # closed, or its disk is full
                    file.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(0)


def _interrupted(*_: object) -> None:
    NOTE[INTERRUPTED] = True
    raise KeyboardInterrupt


def _end_like(child: int) -> None:
    """Wait for the process of the script, pass signals on to it, and end as it does."""

    def pass_on(number: int, *_: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    def interrupt(*_: object) -> None:
        if not NOTE[INTERRUPTED]:
            pass_on(signal.SIGINT)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, lambda *_: signal.setitimer(signal.ITIMER_REAL, GRACE_S))
    signal.signal(signal.SIGALRM, interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left its own
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if user_code() and not NOTE[AT_ITS_END]:
        what = f"its code ended the process with exit code {code}; expected it to return"
        print(f"error: {user_code()}: {what}", file=sys.stderr, flush=True)
        code = 2
    os._exit(code)  # there is nothing else to end, or to flush
