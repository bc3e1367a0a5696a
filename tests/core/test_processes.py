import errno
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from parity.core.processes import QUEUED, in_processes


def double(chunk: list[int]) -> list[int]:
    return [2 * number for number in chunk]


def own_id(chunk: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def fill_disk(chunk: int) -> None:
    if chunk == 3:
        Path("/dev/full").write_bytes(b"1")


def kill_itself(chunk: int) -> int:
    if chunk == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk


def slow_once(chunk: int) -> int:
    time.sleep(2 if chunk == 0 else 0.01)
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("chunks", [0, 1, 2, 9])
def test_results_come_in_order(processes, chunks):
    given = [[number, -number] for number in range(chunks)]
    assert list(in_processes(double, given, processes)) == [double(chunk) for chunk in given]


def test_the_work_is_shared_and_one_chunk_is_worked_on_here():
    assert len(set(in_processes(own_id, range(6), 2)) - {os.getpid()}) == 2
    assert list(in_processes(own_id, range(1), 2)) == [os.getpid()]


def test_a_slow_process_does_not_hold_up_the_others():
    results = list(in_processes(slow_once, range(20), 2))
    shares = sorted(results.count(number) for number in set(results))
    assert shares[0] <= QUEUED


def test_a_full_disk_comes_out_as_what_it_is():
    with pytest.raises(OSError) as caught:
        list(in_processes(fill_disk, range(9), 2))
    assert caught.value.errno == errno.ENOSPC


def test_a_process_that_dies_is_told_when_its_chunk_is_due():
    results = in_processes(kill_itself, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ChildProcessError, match="signal 9"):
        next(results)


def test_processes_end_with_the_iterator():
    results = in_processes(own_id, range(9), 2)
    ids = {next(results) for _ in range(2)}
    assert all(psutil.pid_exists(number) for number in ids)
    results.close()
    assert not any(psutil.pid_exists(number) for number in ids)
