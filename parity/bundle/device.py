"""tools/run_onnx.py in a process of its own: what a device does with a model."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnx

from parity.backends.contract import BackendFailure
from parity.core.cli import InputError
from parity.core.machine import cores
from parity.core.params import Exif, OpenCVParams

RUN_ONNX = Path(__file__).parents[2] / "tools/run_onnx.py"
PREPROCESSING = re.compile(r"^preprocessing \(.*\): (.*)$", re.MULTILINE)
FAILED = 1  # exit code of a verification that fails


class DeviceAnswer(NamedTuple):
    """What run_onnx.py prints, the flags of its preprocessing, blob, output and milliseconds."""

    text: str
    flags: str
    blob: np.ndarray
    output: np.ndarray
    time_ms: float


class Usage(NamedTuple):
    """What an ONNX file's metadata say; empty where the pipeline did not write them."""

    task: str
    preprocess: dict
    classes: list[str]

    @property
    def exif(self) -> Exif:
        return self.preprocess.get("exif", "ignore")


def read_usage(path: Path) -> Usage:
    """Return what the metadata of an ONNX file say of its use."""
    model = onnx.load(path, load_external_data=False)
    metadata = {one.key: one.value for one in model.metadata_props}
    preprocess, classes = (_json(metadata, key) for key in ("preprocess", "classes"))
    return Usage(
        metadata.get("task", ""),
        preprocess if isinstance(preprocess, dict) else {},
        list(map(str, classes)) if isinstance(classes, list) else [],
    )


def _json(metadata: dict[str, str], key: str) -> object:
    try:
        return json.loads(metadata.get(key, ""))
    except ValueError:  # another program's
        return None


def settings_flags(params: OpenCVParams) -> list[str]:
    """Return the flags that let run_onnx.py run a model as the pipeline does."""
    names = ("engine", "backend", "target")
    flags = [f"--{name}={getattr(params, name)}" for name in names]
    return [*flags, f"--threads={params.threads or cores()}"]


def answer_of(path: Path, image: Path, flags: Sequence[str]) -> DeviceAnswer:
    """Run a model on an image.

    Raises BackendFailure where the process is killed. Where it has no answer, it says why on
    stderr; without an output, this process then ends with its exit code.
    """
    with TemporaryDirectory() as folder:
        saved = Path(folder) / "answer.npz"
        command = [sys.executable, str(RUN_ONNX), f"--model={path}", f"--input={image}", *flags]
        done = subprocess.run([*command, f"--save={saved}"], stdout=subprocess.PIPE, text=True)
        check_alive(path, done.returncode)
        if not saved.exists():
            sys.exit(done.returncode)
        with np.load(saved) as arrays:
            blob, output, time_ms = (arrays[key] for key in ("blob", "output", "milliseconds"))
            flags_found = PREPROCESSING.search(done.stdout)[1]
            return DeviceAnswer(done.stdout, flags_found, blob, output, float(time_ms))


def check_alive(path: Path, code: int) -> None:
    if code < 0:
        name = signal.Signals(-code).name
        raise BackendFailure("crashed", f"{path}: OpenCV's process was ended by {name}")


def verify(folder: Path) -> str | None:
    """Verify a bundle with the installed OpenCV; return why it fails, None where it does not.

    Raises InputError where run_onnx.py refuses the bundle or OpenCV the model.
    """
    command = [sys.executable, str(RUN_ONNX), "--verify", f"--bundle={folder}"]
    done = subprocess.run(command, capture_output=True, text=True)
    check_alive(folder / "model.onnx", done.returncode)
    if done.returncode == FAILED:
        failed = [line for line in done.stdout.splitlines() if re.match(r"\w+: fail: ", line)]
        return "; ".join(failed[:-1])  # the last line sums them up
    if done.returncode:
        raise InputError(done.stderr.removeprefix("error: ").strip())
    return None
