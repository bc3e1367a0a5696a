"""Work in a process of its own: a crash or a hang there is a result, not the end of the run."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np

from parity.backends.contract import BackendFailure, Forward
from parity.core.cli import InputError, end_with

Result = TypeVar("Result")

# By its own command line and not by multiprocessing, which would import there what this process's
# main module imports, PyTorch for one.
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from parity.backends.isolated import serve; serve(int(sys.argv[1]), int(sys.argv[3]))"
)


class Worker:
    """A process that calls functions for this one; after a crash or a hang the next call starts a
    new one. Use it in a `with`, or `stop` it.

    A call may take `limit_s` seconds. `environment` is added to this process's own. With `quiet`
    what the functions and their libraries print is thrown away, else it goes to stderr.
    """

    def __init__(
        self, limit_s: float, environment: Mapping[str, str] | None = None, quiet: bool = False
    ) -> None:
        self.limit_s, self.quiet = limit_s, quiet
        self.environment = dict(environment or {})
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether there is a process that keeps what earlier calls left there."""
        return self._process is not None

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return `function(*arguments)`, called in the process. All of it is pickled.

        Raises BackendFailure of kind `crashed`, with the signal's name, or `timeout`, and what
        InputError (a BackendFailure is one) the function raised. Another exception of the function
        is a defect: RuntimeError with its traceback.
        """
        if self._process is None:
            self._start()
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(self.limit_s):
                self.stop()
                raise BackendFailure("timeout", f"did not end within {self.limit_s:g} s")
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            raise BackendFailure("crashed", self._ending()) from None
        except BaseException:  # Ctrl-C: what the process still computes nobody waits for
            self.stop()
            raise
        if isinstance(answer, _Raised):
            raise answer.error
        return answer

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._connection.close()
            self._ended()
            self._process = self._connection = None

    def _start(self) -> None:
        ours, theirs = Pipe()
        command = [sys.executable, "-c", CHILD, str(theirs.fileno()), json.dumps(sys.path)]
        command.append(str(os.getpid()))
        output = subprocess.DEVNULL if self.quiet else 2
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,  # stdout is kept for results
            stderr=output,
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
        theirs.close()
        self._connection = ours
        self._ended = weakref.finalize(self, _end, self._process)

    def _ending(self) -> str:
        """How the process ended that did not answer, in words."""
        with suppress(subprocess.TimeoutExpired):  # a broken pipe, and yet it lives
            self._process.wait(5)
        code = self._process.poll()
        self.stop()
        if code is None:
            return "the process closed its pipe"
        if code >= 0:
            return f"the process ended with exit code {code}"
        names = {one.value: one.name for one in signal.Signals}
        hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
        return f"the process was ended by {names.get(-code, f'signal {-code}')}{hint}"


class IsolatedForward:
    """The forward pass of a backend in a process of its own; `seconds` is what the last one took
    there, without the way of blob and logits.

    `load` returns it when called with `arguments` in that process; both are pickled. Raises
    BackendFailure as `Worker.call` does, and of `load` and the forward pass itself.
    """

    def __init__(
        self,
        load: Callable[..., Forward],
        *arguments: Any,
        limit_s: float,
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        self.seconds = float("nan")
        self._worker = Worker(limit_s, environment, quiet)
        try:
            self._call("reading the model", _load, load, arguments)
        except BaseException:  # nobody has the object that could stop it
            self._worker.stop()
            raise

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        if not self._worker.is_running:
            raise RuntimeError("its process has ended")
        what = f"a forward pass of a blob of {blob.shape}"
        logits, self.seconds = self._call(what, _forward, blob)
        return logits

    def _call(self, what: str, function: Callable[..., Result], *arguments: Any) -> Result:
        """As `Worker.call`; how the process ended comes with `what` it did."""
        try:
            return self._worker.call(function, *arguments)
        except BackendFailure as failure:
            if failure.kind in ("crashed", "timeout"):
                raise BackendFailure(failure.kind, f"{what}: {failure}") from None
            raise

    def __enter__(self) -> "IsolatedForward":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


_loaded: list[Forward] = []  # in the process of an IsolatedForward, the one that it runs


def _load(load: Callable[..., Forward], arguments: tuple) -> None:
    _loaded[:] = [load(*arguments)]


def _forward(blob: np.ndarray) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    logits = _loaded[0](blob)
    return logits, time.perf_counter() - began


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def serve(descriptor: int, parent: int) -> None:
    """Answer the calls of the process `parent` through a pipe until its other side is closed."""
    end_with(parent)
    connection = Connection(descriptor)
    with suppress(EOFError, ConnectionError):
        while True:
            message = connection.recv_bytes()
            try:
                function, arguments = pickle.loads(message)
                answer = function(*arguments)
            except InputError as error:
                answer = _Raised(error)
            except Exception:
                answer = _Raised(RuntimeError(traceback.format_exc()))
            connection.send(answer)
