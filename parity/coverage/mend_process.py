"""Mend a file with any version of OpenCV: this module loads none when it is imported."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from parity.core.params import OpenCVParams
from parity.coverage.opencv_versions import enter


def mend_with_opencv_of(
    folder: Path | None,
    path: Path,
    target: Path,
    blobs: list[np.ndarray],
    how: OpenCVParams,
    perturb: Sequence[int],
    fixed: float,
) -> dict:
    """Mend a file with the OpenCV of a folder, None for the installed one, in a process that has
    not loaded one yet. Write the mended file, if there is one, to `target`; return what was done.
    """
    enter(folder)
    # These load OpenCV.
    from parity.faults.settings import engine_settings
    from parity.graphs.graph import save
    from parity.mending.file import mend_file

    mended = mend_file(path, blobs, engine_settings(how, perturb), fixed, lambda line: None)
    if mended.passes and mended.steps:
        save(mended.model, target)
    return mended.content()
