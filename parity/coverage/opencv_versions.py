"""Other versions of OpenCV beside the installed one, each in a folder of its own.

Each runs with the same Python, NumPy and code of this project, so that a difference is OpenCV's.
This module imports no OpenCV: its functions run in processes that then load the right version.
"""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from parity.backends.contract import Forward
from parity.core.cli import InputError, log
from parity.core.files import new_directory
from parity.core.params import OpenCVParams
from parity.core.processes import Worker
from parity.coverage.packages import FOLDER, REINSTALL, enter_folder, install

DISTRIBUTION = "opencv-python"
START_S = 60


def installed_version() -> str:
    """The version of the OpenCV package that the pipeline runs."""
    for name in (DISTRIBUTION, f"{DISTRIBUTION}-headless"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise InputError(f"{DISTRIBUTION}: not installed")


def parse_versions(text: str) -> list[str]:
    """Split a list of versions at commas and spaces; an empty list means the installed version.

    Raises InputError for an entry that is not a version.
    """
    versions = list(dict.fromkeys(text.replace(",", " ").split()))
    for name in versions:
        if name != installed_version() and not re.fullmatch(r"\d+(\.\d+)+", name):
            raise InputError(f"OPENCV: found {name!r}; expected a version, as 4.14.0.94")
    return versions or [installed_version()]


def provide(wanted: str) -> Path | None:
    """Return the folder of a version, installing the version first if necessary; None for the
    pipeline's own. Raises InputError for a version that pip cannot find."""
    if wanted == installed_version():
        return None
    folder = FOLDER / f"opencv-{wanted}"
    if not folder.is_dir():
        log(f"installing {DISTRIBUTION} {wanted} into {folder}")
        with new_directory(folder) as partial:
            # Its only dependency is NumPy, which must stay the installed one.
            install([f"{DISTRIBUTION}=={wanted}"], partial, "OPENCV")
    return folder.resolve()


def engines_of(wanted: str, folder: Path | None) -> list[str]:
    """Ask a version for its engines, in a process of its own; sorted.

    Raises InputError where the version cannot be loaded, for instance because it is too old for
    this NumPy, or where the folder holds another version.
    """
    with Worker(START_S, quiet=True) as worker:
        try:
            return worker.call(_engines, wanted, folder)
        except (
            InputError,
            OSError,
            RuntimeError,
        ) as error:  # RuntimeError: a package half installed
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"OPENCV: {wanted} cannot be loaded: {reason}") from None


def _engines(wanted: str, folder: Path | None) -> list[str]:
    enter(folder)
    import cv2

    # The package appends the number of its build: 4.14.0.94 is OpenCV 4.14.0.
    if not f"{wanted}.".startswith(f"{cv2.__version__.partition('-')[0]}."):
        hint = f" in {folder}; {REINSTALL}" if folder else ""
        raise InputError(f"found OpenCV {cv2.__version__}{hint}")
    from parity.backends.opencv import engines

    return sorted(engines())


def load_opencv_of(folder: Path | None, model: Path, params: OpenCVParams) -> Forward:
    """As `load_opencv`, with the OpenCV of a folder, in a process that has not loaded one yet."""
    enter(folder)
    from parity.backends.opencv import load_opencv

    return load_opencv(model, params)


def enter(folder: Path | None) -> None:
    """Load OpenCV from a folder, or the installed one.

    Raises InputError where the folder has no OpenCV and Python finds the installed one instead.
    """
    if folder:
        enter_folder(folder)
    try:
        import cv2
    except ImportError as error:
        raise InputError(" ".join(str(error).split())[:200]) from None
    found = Path(cv2.__file__ or "").resolve()
    if folder and folder.resolve() not in found.parents:
        raise InputError(f"there is none in {folder}; {REINSTALL}")
