"""A model's files as the pipeline left them, for what looks at them outside of the pipeline."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.params import PARAMS
from parity.core.paths import onnx_path

CHANGED = 1  # exit code of `dvc status --quiet`


@contextmanager
def made(name: str) -> Iterator[Path]:
    """The model's ONNX file; raises InputError where it is missing.

    Where params.yaml asks for another by now, that is said in the end: DVC is asked meanwhile, as
    its answer takes a second or more.
    """
    path = onnx_path(name)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `make` writes it")
    status = None
    if Path("dvc.lock").is_file():
        command = [sys.executable, "-m", "dvc", "status", "--quiet", f"export_onnx@{name}"]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        status = subprocess.Popen(command, **streams)
    try:
        yield path
    finally:
        if status and status.wait() == CHANGED:
            log(f"{path}: {PARAMS}, or what else it is made of, has changed; `make` makes it anew")
