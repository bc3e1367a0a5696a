import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from helpers.checkout import ROOT
from helpers.in_process import (
    doubled,
    end_by,
    load_doubled,
    load_refusing,
    refuse,
)

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward, Worker
from parity.core.cli import InputError


def failed(kind: str, message: str):
    return pytest.raises(BackendFailure, match=message, check=lambda error: error.kind == kind)


def test_a_call_returns_what_the_function_does_in_another_process_that_stays():
    with Worker(20) as worker:
        first, second = worker.call(os.getpid), worker.call(os.getpid)
        assert first == second != os.getpid()
        np.testing.assert_array_equal(worker.call(doubled, np.ones(3, np.float32)), [2, 2, 2])
    assert not psutil.pid_exists(first)


def test_its_environment_is_this_one_with_what_is_added(monkeypatch):
    monkeypatch.setenv("OWN", "1")
    with Worker(20, {"ADDED": "2"}) as worker:
        assert worker.call(os.getenv, "OWN") == "1" and worker.call(os.getenv, "ADDED") == "2"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_signal_is_named_and_the_next_call_starts_anew(name):
    with Worker(20) as worker:
        with failed("crashed", f"ended by {name}"):
            worker.call(end_by, signal.Signals[name].value)
        assert worker.call(abs, -1) == 1


def test_an_exit_is_no_answer():
    with Worker(20) as worker, failed("crashed", "exit code 3"):
        worker.call(os._exit, 3)


def test_what_hangs_is_ended_after_the_time_limit():
    began = time.perf_counter()
    with Worker(2) as worker:
        process = psutil.Process(worker.call(os.getpid))
        with failed("timeout", "within 2 s"):
            worker.call(time.sleep, 60)
        assert not process.is_running()
        assert worker.call(abs, -1) == 1
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize("error", [InputError("a.onnx: no"), BackendFailure("error", "a.onnx: no")])
def test_what_the_function_refuses_comes_as_it_is(error):
    with Worker(20) as worker, pytest.raises(type(error)) as caught:
        worker.call(refuse, error)
    assert str(caught.value) == "a.onnx: no"
    assert getattr(caught.value, "kind", None) == getattr(error, "kind", None)


def test_a_defect_of_the_function_comes_with_its_traceback():
    with Worker(20) as worker, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        worker.call(divmod, 1, 0)


class Unreadable:
    """What cannot be unpickled."""

    def __reduce__(self):
        return divmod, (1, 0)


def test_a_call_that_does_not_arrive_is_a_defect_and_no_crash():
    with Worker(20) as worker:
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            worker.call(id, Unreadable())
        assert worker.call(abs, -1) == 1


def test_a_forward_pass_is_timed_in_its_process():
    with IsolatedForward(load_doubled, limit_s=20) as forward:
        np.testing.assert_array_equal(forward(np.ones((1, 2), np.float32)), [[2, 2]])
        assert 0 < forward.seconds < 1


def test_what_load_raises_comes_where_it_is_made():
    with failed("refused", "^any.onnx: no$"):
        IsolatedForward(load_refusing, limit_s=20)


def test_its_process_ends_with_the_one_that_started_it(tmp_path):
    note = tmp_path / "pid"
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests')]}\n"
        "from helpers.in_process import write_pid_and_hang\n"
        "from parity.backends.isolated import Worker\n"
        f"Worker(60).call(write_pid_and_hang, {str(note)!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not (note.exists() and note.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    process = psutil.Process(int(note.read_text()))
    parent.kill()
    parent.wait()
    process.wait(10)
