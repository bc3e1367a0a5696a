import pytest
from helpers.refusals import refused

from parity.core.cli import InputError
from parity.core.system_errors import ran_out
from parity.coverage.memory import result_or_disk_error


def raise_all(*errors: Exception) -> None:
    """Raise the last error while the ones before it are handled."""
    try:
        if errors[:-1]:
            raise_all(*errors[:-1])
    finally:
        raise errors[-1]


def test_a_failure_of_the_model_is_no_failure_of_the_disk(tmp_path):
    elsewhere = FileNotFoundError(2, "No such file or directory", "/nowhere")
    for cause in (elsewhere, OSError("could not get source code"), ValueError("ENOSPC")):
        with pytest.raises(InputError, match="no such operator"):
            result_or_disk_error(tmp_path, raise_all, cause, InputError("no such operator"))
    cause = FileNotFoundError(2, "No such file or directory", str(tmp_path / "a/b"))
    error = result_or_disk_error(tmp_path, raise_all, cause, ValueError(), InputError("no"))
    assert error.errno == 2


@pytest.mark.parametrize(
    ("message", "is_of_memory"),
    [
        ("MemoryError", True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 4 GiB for an array", True),
        ("OpenCV cannot read it: std::bad_alloc", True),
        ("error: (-4:Insufficient memory) Failed to allocate 2359296 bytes", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes", True),
        ("cv2.abi3.so: failed to map segment from shared object", True),
        ("unsupported memory format channels_last", False),
        ("the process was ended by SIGKILL, as when memory runs out", False),
        ("did not end within 300 s", False),
    ],
)
def test_a_message_says_whether_memory_ran_out(message, is_of_memory):
    assert ran_out(message) == is_of_memory


@pytest.mark.parametrize(
    "cause", [MemoryError(), RuntimeError("can't allocate memory"), ValueError("std::bad_alloc")]
)
def test_memory_that_ran_out_is_found_below_another_failure(tmp_path, cause):
    with refused(type(cause).__name__):
        result_or_disk_error(tmp_path, raise_all, cause, InputError("cannot be exported: "))
