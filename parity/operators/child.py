"""What the process of an engine does; it loads little, as every crash starts another process."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from parity.backends.contract import BackendFailure
from parity.coverage.opencv_versions import enter


def run_in_engine(
    folder: Path | None,
    engine: str,
    path: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    outputs: Sequence[str],
) -> tuple[list[list[np.ndarray]], BackendFailure | None]:
    """As `run_opencv_in_turn`, in an engine of the OpenCV of a folder, None being the installed
    one, on one thread. A refusal also has what OpenCV printed."""
    enter(folder)
    from parity.backends.opencv import engines, run_opencv_in_turn

    messages = path.with_suffix(".log")
    try:
        with _stderr_to(messages):
            return run_opencv_in_turn(path, engines()[engine], 1, feeds, outputs)
    except BackendFailure as failure:
        # The new engine says only there why it refuses a file.
        said = messages.read_text(encoding="utf-8", errors="replace").strip()
        raise BackendFailure(failure.kind, f"{failure.message}\n{said}".strip()) from None


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Write what this process and its libraries print to stderr to a file."""
    saved = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
