"""A model's ONNX file as the pipeline left it, for tools that read it outside the pipeline."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.backends.external_data import check_external_data
from parity.core.cli import InputError, log
from parity.core.params import PARAMS, load_params
from parity.core.paths import mended_path, onnx_path
from parity.core.settings import MEND, NETWORK, are_current

CHANGED = 1  # exit code of `dvc status --quiet`


@contextmanager
def exported_file(name: str, mended: bool = False, is_timed: bool = False) -> Iterator[Path]:
    """Yield the path of a model's ONNX file, or of the one that OpenCV reads, which may be mended;
    raises InputError where the file is missing or names data outside its folder.

    On exit, warn if the file is stale. DVC says so in the background, as it takes a while; with
    `is_timed` it ends before the block begins. Of the settings, DVC sees what the last run wrote;
    params.yaml may say something else by now.
    """
    path, stages = onnx_path(name), [f"export_onnx@{name}"]
    if mended:
        path, stages = mended_path(name), [*stages, f"mend@{name}"]
    if not path.is_file():
        raise InputError(f"{path}: no such file; `make` writes it")
    check_external_data(path)
    status, is_stale = None, False
    if Path("dvc.lock").is_file():
        sections = (NETWORK, "export", MEND) if mended else (NETWORK, "export")
        is_stale = not are_current(load_params(), name, sections)
        command = [sys.executable, "-m", "dvc", "status", "--quiet", *stages]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        status = subprocess.Popen(command, **streams)
        if is_timed:
            status.wait()
    try:
        yield path
    finally:
        is_stale |= status is not None and status.wait() == CHANGED
        if is_stale:
            log(f"{path}: stale: {PARAMS} or another dependency has changed; `make` rewrites it")
