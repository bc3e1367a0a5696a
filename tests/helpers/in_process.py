"""Functions that tests call in another process, which imports them by name."""

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np

from parity.backends.contract import BackendFailure
from parity.core.cli import InputError
from parity.core.machine import cores
from parity.core.processes import Worker


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def raise_error(error: Exception) -> None:
    raise error


def write_pid_and_hang(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def crash_in_its_own_worker() -> None:
    with Worker() as worker:
        worker.call(end_by, signal.SIGABRT)


class Unreadable:
    """An object that pickles and does not unpickle."""

    def __reduce__(self):
        return divmod, (1, 0)


# Backends


def doubled(blob: np.ndarray) -> np.ndarray:
    return 2 * blob


def load_doubled():
    return doubled


def load_crashing():
    return lambda blob: os.kill(os.getpid(), signal.SIGSEGV)


def load_refusing():
    raise BackendFailure("refused", "any.onnx: no")


# Work of a pool on chunks


def double(chunk: list[int]) -> list[int]:
    return [2 * number for number in chunk]


def process_id(chunk: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def process_id_slow_once(chunk: int) -> int:
    time.sleep(2 if chunk == 0 else 0.01)
    return os.getpid()


def fill_disk(chunk: int) -> None:
    if chunk == 3:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "images.npy")


def refuse(chunk: int) -> None:
    raise InputError(f"{chunk}: no")


def kill_itself(chunk: int) -> int:
    if chunk == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk


def divide_by_zero_once(chunk: int) -> int:
    return chunk // (chunk != 3)


# Work of a cluster, in a process whose parent is the worker


def hang_once(folder: str, chunk: int) -> int:
    """Return twice the chunk. The first call on chunk 2 notes its worker and hangs."""
    if chunk == 2:
        try:
            with Path(folder, "worker").open("x") as file:
                file.write(str(os.getppid()))
            time.sleep(60)
        except FileExistsError:
            pass
    return 2 * chunk


def kill_worker(chunk: int) -> int:
    if chunk == 3:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return chunk


def worker_id(chunk: int) -> int:
    time.sleep(0.2)
    return os.getppid()


def environment(name: str) -> str | None:
    return os.environ.get(name)


def cores_there(chunk: object) -> int:
    return cores()


def mean_colours(blob: np.ndarray) -> np.ndarray:
    return blob.mean(axis=(2, 3))


def load_mean_colours():
    return mean_colours


def coloured(blob: np.ndarray) -> np.ndarray:
    return blob[:, ::-1] * 2


def load_coloured():
    return coloured


def load_failing_without(file: str):
    def forward(blob: np.ndarray) -> np.ndarray:
        if len(blob) == 2 and not Path(file).exists():
            raise InputError(f"{file}: not there")
        return mean_colours(blob)

    return forward
