"""Work on chunks of items in parallel processes."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from parity.core.cli import InputError, end_with

QUEUED = 2  # chunks of a process: the one in work, and one so that it need not wait for the next
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Chunk], Result], chunks: Sequence[Chunk], processes: int
) -> Iterator[Result]:
    """Yield `work(chunk)` of each chunk, in order.

    `work`, chunks and results are pickled; results are small, as those that come early are kept.
    With less than two processes or chunks it is done here. The processes end with the iterator, and
    when this process is killed.

    Raises an OSError or InputError of `work`, and ChildProcessError where a process died; what else
    `work` raises is a defect, whose traceback the process prints before it dies.
    """
    processes = min(processes, len(chunks))
    if processes < 2:
        yield from map(work, chunks)
        return
    pool = _start(work, processes)
    queues: dict[Connection, deque[int]] = {connection: deque() for connection in pool}
    places = iter(range(len(chunks)))
    results: dict[int, Result | Exception] = {}
    try:
        for connection in QUEUED * [*pool]:
            _hand_out(connection, queues[connection], places, chunks)
        for place in range(len(chunks)):
            while place not in results:
                for connection in wait([one for one, queue in queues.items() if queue]):
                    results[queues[connection].popleft()] = _receive(connection, pool[connection])
                    _hand_out(connection, queues[connection], places, chunks)
            result = results.pop(place)
            if isinstance(result, OSError | InputError):
                raise result
            yield result
    finally:
        for connection, process in pool.items():
            process.terminate()
            process.join()
            connection.close()


def _start(work: Callable, processes: int) -> dict[Connection, BaseProcess]:
    # Spawned, not forked: a copy of this process would hold its threads' locks for ever.
    context = multiprocessing.get_context("spawn")
    pool = {}
    # They inherit that Ctrl-C is ignored: it is for this process to end them.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, work), daemon=True)
            process.start()
            theirs.close()
            pool[ours] = process
    finally:
        signal.signal(signal.SIGINT, before)
    return pool


def _serve(connection: Connection, work: Callable) -> None:
    end_with(multiprocessing.parent_process().pid)
    with suppress(EOFError, ConnectionError):  # the process that started this one is gone
        while True:
            chunk = connection.recv()
            try:
                answer = work(chunk)
            except (OSError, InputError) as error:
                answer = error
            connection.send(answer)


def _hand_out(
    connection: Connection, queue: deque[int], places: Iterator[int], chunks: Sequence
) -> None:
    for place in places:
        queue.append(place)
        with suppress(ConnectionError):  # it died, which is told when its answer is due
            connection.send(chunks[place])
        return


def _receive(connection: Connection, process: BaseProcess) -> Result | Exception:
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        code = process.exitcode
        return ChildProcessError(f"signal {-code}" if code and code < 0 else f"exit code {code}")
