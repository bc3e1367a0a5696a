"""Work on chunks of items in parallel processes."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

AHEAD = 2  # chunks a process: the one in work, and one that waits for it
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Chunk], Result], chunks: Sequence[Chunk], processes: int
) -> Iterator[Result]:
    """Yield `work(chunk)` of each chunk, in order; memory is bounded by AHEAD chunks a process.

    `work` and its chunks are pickled. A single chunk is worked on here, without another process.
    The processes end with the iterator, and when this process is killed: what they wait for breaks
    off. Raises an OSError of `work`, and ChildProcessError when a process died; what else `work`
    raises is a defect, whose traceback the process prints before it dies.
    """
    processes = min(processes, len(chunks))
    if processes < 2:
        yield from map(work, chunks)
        return
    pool = _start(work, processes)
    try:
        sent = 0
        for place in range(len(chunks)):
            for chunk in chunks[sent : place + AHEAD * processes]:
                _send(*pool[sent % processes], chunk)
                sent += 1
            yield _receive(*pool[place % processes])
    finally:
        for process, connection in pool:
            process.terminate()
            process.join()
            connection.close()


def _start(work: Callable, processes: int) -> list[tuple[BaseProcess, Connection]]:
    # Spawned, not forked: a copy of this process would hold its threads' locks for ever.
    context = multiprocessing.get_context("spawn")
    pool = []
    # They inherit that Ctrl-C is ignored: it is for this process to end them.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, work), daemon=True)
            process.start()
            theirs.close()
            pool.append((process, ours))
    finally:
        signal.signal(signal.SIGINT, before)
    return pool


def _serve(connection: Connection, work: Callable) -> None:
    with suppress(EOFError, ConnectionError):  # the process that started this one is gone
        while True:
            chunk = connection.recv()
            try:
                answer = work(chunk)
            except OSError as error:
                answer = error
            connection.send(answer)


def _send(process: BaseProcess, connection: Connection, chunk: Chunk) -> None:
    with suppress(ConnectionError):  # it died, which is told when its answer is due
        connection.send(chunk)


def _receive(process: BaseProcess, connection: Connection) -> Result:
    try:
        answer = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        code = process.exitcode
        died = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        raise ChildProcessError(died) from None
    if isinstance(answer, OSError):
        raise answer
    return answer
