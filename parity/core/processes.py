"""Call Python functions in other processes: in one that stays, or in several in parallel."""

import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, TypeVar

from parity.core.cli import InputError

# A command line of its own: multiprocessing would import the parent's main module, and PyTorch with
# it; a fork would copy the locks that the parent's threads hold.
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from parity.core.processes import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"
)
PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
QUEUED = 2  # chunks per process: the one it works on and the next, so that it never waits

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
Answer = tuple[Exception | None, Any]  # what a call raised, or else what it returned


class ProcessEnded(ChildProcessError):
    """A process ended before it answered; the message names the signal, exit code or time limit."""

    def __init__(self, kind: Literal["crashed", "timeout"], message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple:
        return type(self), (self.kind, str(self))


class Worker:
    """A process that calls functions for this one and keeps its state between calls.

    It starts with the first call, and again with the next call after a crash or timeout. It ends
    with `stop` or the `with` block, and when this process ends. Ctrl-C does not reach it.

    A call may take `limit_s` seconds; None sets no limit. `environment` is added to this process's
    own. The output of the process goes to stderr, with `quiet` nowhere. It inherits `descriptors`.
    """

    def __init__(
        self,
        limit_s: float | None = None,
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.limit_s, self.quiet, self.descriptors = limit_s, quiet, tuple(descriptors)
        self.environment = dict(environment or {})
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether there is a process, with the state that earlier calls left."""
        return self._process is not None

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return `function(*arguments)`, called in the process.

        Function, arguments and result are pickled, so the function needs a name in a module that
        the process can import: not in the main module. Raises ProcessEnded, an InputError or
        OSError of the function as it is, and RuntimeError with the traceback for any other
        exception: that is a defect.
        """
        request = pickle.dumps((function, arguments))
        try:
            self._send(request)
            error, result = self._receive()
        except BaseException:  # Ctrl-C, above all: the next call must not get this answer
            self.stop()
            raise
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._connection.close()
            self._kill()
            self._process = self._connection = None

    def kill(self) -> None:
        """End the process from another thread: a call at work raises ProcessEnded."""
        if (process := self._process) is not None:
            process.kill()

    def fileno(self) -> int:
        """The descriptor by which `multiprocessing.connection.wait` waits for an answer."""
        return self._connection.fileno()

    def _start(self) -> None:
        ours, theirs = Pipe()
        descriptor, parent = str(theirs.fileno()), str(os.getpid())
        output = subprocess.DEVNULL if self.quiet else 2  # this process's stdout is for results
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, descriptor, parent, json.dumps(sys.path)],
            pass_fds=[theirs.fileno(), *self.descriptors],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # out of reach of Ctrl-C
        )
        theirs.close()
        self._connection = ours
        self._kill = weakref.finalize(self, _kill, self._process)

    def _send(self, request: bytes) -> None:
        if self._process is None:
            self._start()
        with suppress(ConnectionError):  # the process has died: `_receive` says how
            self._connection.send_bytes(request)

    def _receive(self) -> Answer:
        """Wait for the answer to the oldest request."""
        try:
            if self._connection.poll(self.limit_s):
                return self._connection.recv()
            self.stop()
            return ProcessEnded("timeout", f"did not end within {self.limit_s:g} s"), None
        except (EOFError, ConnectionError):
            return ProcessEnded("crashed", self._ending()), None

    def _ending(self) -> str:
        """Wait for the end of a process that has closed its pipe, and describe it."""
        with suppress(subprocess.TimeoutExpired):
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


def in_processes(
    work: Callable[[Chunk], Result], chunks: Sequence[Chunk], processes: int
) -> Iterator[Result]:
    """Yield `work(chunk)` for each chunk, in order, computed in several processes.

    `work`, chunks and results are pickled. Results should be small: those that finish early wait in
    memory for their turn.
    With fewer than two processes or chunks the work is done in this process. The processes end with
    the iterator. Raises what `Worker.call` raises, when the result of that chunk is due.
    """
    processes = min(processes, len(chunks))
    if processes < 2:
        yield from map(work, chunks)
        return
    requests = ((place, pickle.dumps((work, (chunk,)))) for place, chunk in enumerate(chunks))
    answers: dict[int, Answer] = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in range(processes)]
        queues: dict[Worker, deque[int]] = {worker: deque() for worker in workers}
        for worker in QUEUED * workers:
            _send_next(requests, worker, queues[worker])
        for place in range(len(chunks)):
            while place not in answers:
                for worker in wait([worker for worker, queue in queues.items() if queue]):
                    queue = queues[worker]
                    answers[queue.popleft()] = worker._receive()
                    if worker.is_running:
                        _send_next(requests, worker, queue)
                    else:
                        queue.clear()  # its other chunks come later: the error is raised first
            error, result = answers.pop(place)
            if error is not None:
                raise error
            yield result


def _send_next(requests: Iterator[tuple[int, bytes]], worker: Worker, queue: deque[int]) -> None:
    for place, request in requests:
        queue.append(place)
        worker._send(request)
        return


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def serve(descriptor: int, parent: int) -> None:
    """Answer the requests that come through a pipe until its other end is closed."""
    die_with_parent(parent)
    connection = Connection(descriptor)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes(answer(connection.recv_bytes()))


def answer(request: bytes) -> bytes:
    """Call the function of a pickled pair of function and arguments; return the pickled Answer."""
    try:
        function, arguments = pickle.loads(request)
        try:
            found = None, function(*arguments)
        except (InputError, OSError) as error:
            found = error, None
        return pickle.dumps(found)
    except Exception:
        return pickle.dumps((RuntimeError(traceback.format_exc()), None))


def die_with_parent(parent: int) -> None:
    """Have Linux kill this process when its parent, the process `parent`, exits; elsewhere do
    nothing."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it exited before the call
        os.kill(os.getpid(), signal.SIGKILL)
