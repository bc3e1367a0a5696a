import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers import in_process
from helpers.checkout import ROOT
from helpers.refusals import refused

from parity.core.cli import InputError
from parity.core.processes import QUEUED, ProcessEnded, Worker, in_processes

pytestmark = pytest.mark.process

IMPORTABLE = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def ended(kind: str, message: str):
    return pytest.raises(ProcessEnded, match=message, check=lambda error: error.kind == kind)


def start_python(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], env=os.environ | IMPORTABLE, **options)


def processes_noted_in(folder: Path, count: int, parent: subprocess.Popen) -> list[psutil.Process]:
    """The processes whose ids `write_pid_and_hang` left in a folder, as soon as all have."""
    while len(found := list(folder.iterdir())) < count:
        assert parent.poll() is None
        time.sleep(0.02)
    return [psutil.Process(int(path.name)) for path in found]


# A worker


def test_a_call_runs_in_another_process_that_stays():
    with Worker(20) as worker:
        first, second = worker.call(os.getpid), worker.call(os.getpid)
        assert first == second != os.getpid()
        np.testing.assert_array_equal(worker.call(in_process.doubled, np.ones(3)), [2, 2, 2])
    assert not psutil.pid_exists(first)


def test_a_worker_has_this_environment_and_what_is_added(monkeypatch):
    monkeypatch.setenv("OWN", "1")
    with Worker(20, {"ADDED": "2"}) as worker:
        assert worker.call(os.getenv, "OWN") == "1" and worker.call(os.getenv, "ADDED") == "2"


def test_a_worker_does_not_import_what_this_process_has():
    with Worker(20) as worker:
        assert worker.call(eval, "'pytest' in __import__('sys').modules") is False


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_names_the_signal_and_the_next_call_starts_a_new_process(name):
    with Worker(20) as worker:
        with ended("crashed", f"ended by {name}"):
            worker.call(in_process.end_by, signal.Signals[name].value)
        assert not worker.is_running
        assert worker.call(abs, -1) == 1


def test_a_process_that_exits_names_its_exit_code():
    with Worker(20) as worker, ended("crashed", "exit code 3"):
        worker.call(os._exit, 3)


def test_a_call_that_hangs_is_killed_at_the_time_limit():
    start = time.perf_counter()
    with Worker(2) as worker:
        process = psutil.Process(worker.call(os.getpid))
        with ended("timeout", "within 2 s"):
            worker.call(time.sleep, 60)
        assert not process.is_running()
        assert worker.call(abs, -1) == 1
    assert time.perf_counter() - start < 20


def test_an_interrupted_call_leaves_no_answer_for_the_next():
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Worker(20) as worker:
            process = psutil.Process(worker.call(os.getpid))
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                worker.call(time.sleep, 1)
            assert not process.is_running()
            assert worker.call(abs, -1) == 1
    finally:
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_does_not_reach_a_worker():
    with Worker(20) as worker:
        assert worker.call(os.getpgrp) == worker.call(os.getpid) != os.getpgrp()


@pytest.mark.parametrize(
    "error", [InputError("a.onnx: no"), OSError(errno.ENOSPC, "No space left", "a.npy")]
)
def test_refusals_and_os_errors_come_through_unchanged(error):
    with Worker(20) as worker, pytest.raises(type(error)) as caught:
        worker.call(in_process.raise_error, error)
    assert str(caught.value) == str(error)
    assert getattr(caught.value, "errno", None) == getattr(error, "errno", None)


def test_a_crash_in_the_worker_of_a_worker_comes_through_unchanged():
    with Worker(20) as worker, ended("crashed", "ended by SIGABRT"):
        worker.call(in_process.crash_in_its_own_worker)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((divmod, 1, 0), "ZeroDivisionError"),
        ((id, in_process.Unreadable()), "ZeroDivisionError"),
        ((open, os.devnull), "cannot pickle"),
    ],
)
def test_a_defect_comes_with_its_traceback_and_the_process_stays(call, message):
    with Worker(20) as worker:
        process = worker.call(os.getpid)
        with pytest.raises(RuntimeError, match=f"Traceback(.|\n)*{message}"):
            worker.call(*call)
        assert worker.call(os.getpid) == process


# A pool


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("chunks", [0, 1, 2, 9])
def test_results_come_in_order(processes, chunks):
    numbers = [[number, -number] for number in range(chunks)]
    expected = [in_process.double(chunk) for chunk in numbers]
    assert list(in_processes(in_process.double, numbers, processes)) == expected


def test_chunks_are_shared_out_and_a_single_one_stays_in_this_process():
    work = in_process.process_id
    assert len(set(in_processes(work, range(6), 2)) - {os.getpid()}) == 2
    assert list(in_processes(work, range(1), 2)) == [os.getpid()]


def test_a_slow_process_does_not_hold_up_the_others():
    results = list(in_processes(in_process.process_id_slow_once, range(20), 2))
    shares = sorted(results.count(number) for number in set(results))
    assert shares[0] <= QUEUED


def test_a_full_disk_comes_through_as_what_it_is():
    with pytest.raises(OSError) as caught:
        list(in_processes(in_process.fill_disk, range(9), 2))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "images.npy")


def test_the_first_refusal_comes_through():
    with refused("0: no"):
        list(in_processes(in_process.refuse, range(4), 2))


def test_a_process_that_dies_is_reported_when_its_chunk_is_due():
    results = in_processes(in_process.kill_itself, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ChildProcessError, match="SIGKILL"):
        next(results)


def test_a_defect_comes_with_its_traceback_when_its_chunk_is_due():
    results = in_processes(in_process.divide_by_zero_once, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        next(results)


def test_the_processes_end_with_the_iterator():
    results = in_processes(in_process.process_id, range(9), 2)
    ids = {next(results) for _ in range(2)}
    assert all(psutil.pid_exists(number) for number in ids)
    results.close()
    assert not any(psutil.pid_exists(number) for number in ids)


# The end of the parent


@pytest.mark.parametrize(
    ("started_by", "count"),
    [
        ("Worker().call(write_pid_and_hang, {folder!r})", 1),
        ("list(in_processes(write_pid_and_hang, 4 * [{folder!r}], 2))", 2),
    ],
)
def test_processes_end_with_a_parent_that_is_killed(tmp_path, started_by, count):
    code = "from helpers.in_process import write_pid_and_hang\n"
    code += "from parity.core.processes import Worker, in_processes\n"
    parent = start_python("-c", code + started_by.format(folder=str(tmp_path)))
    processes = processes_noted_in(tmp_path, count, parent)
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(processes, 10)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_whose_parent_has_already_exited_kills_itself():
    code = "from parity.core.processes import die_with_parent; die_with_parent(-1)"
    assert start_python("-c", code).wait() == -signal.SIGKILL
