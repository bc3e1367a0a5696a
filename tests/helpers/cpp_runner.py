"""The C++ runner: tools/cpp built against the system's OpenCV, and run beside run_onnx.py."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest

from tools import run_onnx

SOURCE = Path(__file__).parents[1] / "cpp"


class Done(NamedTuple):
    code: int
    output: str
    errors: str


def build_programs(folder: Path) -> None:
    """Build the runner and the program of the tests; a warning is an error. Skips the test where
    there is no compiler or no OpenCV for C++."""
    missing = [name for name in ("cmake", "c++") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    flags = ["-DCMAKE_CXX_FLAGS_RELEASE=-O1 -Werror"]  # -O3 takes twice as long to compile
    command = ["cmake", "-S", str(SOURCE), "-B", str(folder), *flags]
    configured = subprocess.run(command, capture_output=True, text=True)
    if configured.returncode and "OpenCVConfig.cmake" in configured.stderr:
        pytest.skip("not installed: OpenCV for C++ (libopencv-dev)")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(
        ["cmake", "--build", str(folder), "--parallel", "2"], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr


class Runners:
    """run_onnx.py, in this process, and run_onnx, on the same flags."""

    def __init__(self, program: Path, capfd: pytest.CaptureFixture) -> None:
        self.program, self.capfd = program, capfd

    def cpp(self, *flags: object) -> Done:
        hidden = ("DISPLAY", "WAYLAND_DISPLAY")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        command = [str(self.program), *map(str, flags)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return Done(done.returncode, done.stdout, done.stderr)

    def python(self, *flags: object) -> Done:
        code, level = 0, cv2.utils.logging.setLogLevel(0)  # as run_onnx.py sets it
        try:
            run_onnx.run(list(map(str, flags)))
        except SystemExit as end:
            code = end.code
        finally:
            cv2.utils.logging.setLogLevel(level)
        return Done(code, *self.capfd.readouterr())

    def both(self, *flags: object) -> tuple[Done, Done]:
        """Return how C++ and Python end."""
        return self.cpp(*flags), self.python(*flags)


def same(output: str) -> str:
    """The lines that do not depend on the version of OpenCV or the time."""
    return re.sub(r"\d+\.\d ms|^OpenCV \d.*\n", "", output, flags=re.MULTILINE)
