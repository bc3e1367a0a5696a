"""Run model.onnx in OpenCV and compare its output with ONNX Runtime's, in expected.npy.

Needs Python with numpy and cv2. Exit code 1 while the two differ, 0 when they do not, 2 when a file
is missing.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ENGINE = "new"  # cv2.dnn.ENGINE_NEW
INPUTS = {"x": "input.npy"}
LIMIT = 0.0001  # of the largest difference over the largest expected value
TIME_LIMIT_S = 120
HEAPS = [""]  # values of MALLOC_PERTURB_: unwritten memory is not zero
ATTEMPTS = 1  # each with other memory around the tensors

HERE = Path(__file__).resolve().parent
MODEL, EXPECTED = HERE / "model.onnx", HERE / "expected.npy"


def forward():
    engine = getattr(cv2.dnn, f"ENGINE_{ENGINE.upper()}", None)  # OpenCV 4 has no engines
    network = cv2.dnn.readNetFromONNX(str(MODEL), *([] if engine is None else [engine]))
    for name, file in INPUTS.items():
        network.setInput(np.load(HERE / file), name)
    return network.forward()


def forward_in_child(heap, attempt):
    """Return the output of a process of its own, or how that process failed."""
    environment = os.environ | {"PADDING": 97 * attempt * "x"}
    if heap:
        environment["MALLOC_PERTURB_"] = heap
        environment["GLIBC_TUNABLES"] = "glibc.malloc.tcache_count=0"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.npy"
        command = [sys.executable, __file__, str(output)]
        try:
            child = subprocess.run(
                command, env=environment, stderr=subprocess.PIPE, text=True, timeout=TIME_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {TIME_LIMIT_S} s"
        if child.returncode < 0:
            return f"ended by {signal.Signals(-child.returncode).name}"
        return np.load(output) if child.returncode == 0 else child.stderr.strip()


def is_wrong(seen, expected):
    """Print an output, and return whether it is wrong."""
    if isinstance(seen, str):
        print("seen:    ", seen)
        return True
    if expected.ndim < 2 and seen.size == expected.size:
        seen = seen.reshape(expected.shape)  # OpenCV's Mat has at least two axes
    print("seen:    ", statistics(seen))
    if seen.shape != expected.shape:
        print("the shapes differ")
        return True
    seen, expected = seen.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(seen[~finite], expected[~finite], equal_nan=True):
        print("NaN or infinity is expected elsewhere")
        return True
    if not finite.any():
        return False
    largest = np.abs(expected[finite]).max()
    difference = np.abs(seen[finite] - expected[finite]).max()
    rel = difference / largest if largest else difference
    print(f"largest difference / largest expected value: {rel:.3g} (limit {LIMIT:g})")
    return not rel <= LIMIT


def statistics(values):
    mean = values.mean(dtype=np.float64)
    return f"shape {values.shape}, min {values.min():.6g}, max {values.max():.6g}, mean {mean:.6g}"


def main():
    for path in (MODEL, EXPECTED, *(HERE / file for file in INPUTS.values())):
        if not path.exists():
            print(f"error: {path}: no such file", file=sys.stderr)
            sys.exit(2)
    if len(sys.argv) > 1:  # the child
        np.save(sys.argv[1], forward())
        return
    print(f"OpenCV {cv2.__version__}, engine {ENGINE}")
    expected = np.load(EXPECTED)
    print("expected:", statistics(expected))
    wrong = False
    for attempt in range(ATTEMPTS):
        for heap in HEAPS:
            if heap:
                print(f"with MALLOC_PERTURB_={heap}")
            wrong |= is_wrong(forward_in_child(heap, attempt), expected)
        if wrong:
            break
    print("the fault is there" if wrong else "the fault is gone")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
