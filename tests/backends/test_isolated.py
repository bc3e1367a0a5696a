import os
import signal

import numpy as np
import psutil
import pytest
from helpers.in_process import (
    end_by,
    load_crashing,
    load_doubled,
    load_refusing,
    raise_error,
)

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker, IsolatedForward

BLOB = np.ones((1, 2), np.float32)


def failed(kind: str, message: str):
    return pytest.raises(BackendFailure, match=message, check=lambda error: error.kind == kind)


def test_a_crash_and_a_timeout_are_failures_of_the_backend():
    with BackendWorker(20) as worker, failed("crashed", "^the process was ended by SIGSEGV$"):
        worker.call(end_by, signal.SIGSEGV)
    with BackendWorker(0.5) as worker, failed("timeout", "^did not end within 0.5 s$"):
        worker.call(end_by, signal.SIGCONT)


def test_a_failure_of_the_backend_comes_through_unchanged():
    with BackendWorker(20) as worker, failed("error", "^a.onnx: no$"):
        worker.call(raise_error, BackendFailure("error", "a.onnx: no"))


def test_a_forward_pass_is_timed_in_its_process():
    with IsolatedForward(load_doubled, limit_s=20) as forward:
        np.testing.assert_array_equal(forward(BLOB), [[2, 2]])
        assert 0 < forward.seconds < 1


def test_what_load_raises_comes_from_the_constructor():
    with failed("refused", "^any.onnx: no$"):
        IsolatedForward(load_refusing, limit_s=20)


def test_a_crash_or_timeout_names_what_the_process_was_doing():
    blob = r"a forward pass of a blob of \(1, 2\): "
    with IsolatedForward(load_crashing, limit_s=20) as forward:
        with failed("crashed", f"^{blob}the process was ended by SIGSEGV$"):
            forward(BLOB)
        with pytest.raises(RuntimeError, match="its process has ended"):
            forward(BLOB)
    with failed("crashed", "^reading the model: the process ended with exit code 3$"):
        IsolatedForward(os._exit, 3, limit_s=20)


def test_its_process_ends_with_the_block():
    children = set(psutil.Process().children())
    with IsolatedForward(load_doubled, limit_s=20):
        (process,) = set(psutil.Process().children()) - children
    assert not process.is_running()
