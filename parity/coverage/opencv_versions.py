"""Other versions of OpenCV beside the installed one, each in a folder of its own.

What runs there has the same Python, numpy and code of this project: a difference is OpenCV's.
This module imports no OpenCV: its functions are called in processes that then load the right one.
"""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from parity.backends.contract import Forward
from parity.core.cli import InputError, log
from parity.core.files import new_directory
from parity.core.params import OpenCVParams
from parity.core.processes import Worker

FOLDER = Path("data/coverage")
DISTRIBUTION = "opencv-python"
START_S = 60
ANEW = "remove this folder, and it is installed anew"


def installed_version() -> str:
    """The version of the OpenCV that the pipeline runs."""
    for name in (DISTRIBUTION, f"{DISTRIBUTION}-headless"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise InputError(f"{DISTRIBUTION}: not installed")


def parse_versions(text: str) -> list[str]:
    """The versions of a list with commas or spaces, the installed one where it is empty. Raises
    InputError for what is no version."""
    versions = list(dict.fromkeys(text.replace(",", " ").split()))
    for one in versions:
        if one != installed_version() and not re.fullmatch(r"\d+(\.\d+)+", one):
            raise InputError(f"OPENCV: found {one!r}; expected a version, as 4.14.0.94")
    return versions or [installed_version()]


def provide(wanted: str) -> Path | None:
    """Return the folder of a version, installed now where it is missing; None for the one that is
    installed anyway. Raises InputError for a version that pip cannot find."""
    if wanted == installed_version():
        return None
    folder = FOLDER / f"opencv-{wanted}"
    if not folder.is_dir():
        log(f"installing {DISTRIBUTION} {wanted} into {folder}")
        with new_directory(folder) as partial:
            _install(wanted, partial)
    return folder.resolve()


def _install(wanted: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Nothing that it depends on: that is numpy alone, which stays the one that is installed.
    command += ["--no-deps", "--only-binary=:all:", "--target", str(folder)]
    done = subprocess.run(
        [*command, f"{DISTRIBUTION}=={wanted}"], capture_output=True, text=True, check=False
    )
    if not done.returncode:
        return
    found = re.search(r"\(from versions: (.+?)\)", done.stderr)
    if found and found[1] != "none":
        newest = ", ".join(found[1].split(", ")[-5:])
        raise InputError(f"OPENCV: {DISTRIBUTION} has no version {wanted}; the last are {newest}")
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise InputError(f"OPENCV: pip cannot install {DISTRIBUTION} {wanted}: {reason}")


def engines_of(wanted: str, folder: Path | None) -> list[str]:
    """The engines that a version has, sorted, asked in a process of its own. Raises InputError
    where it cannot be loaded, as one that is too old for this numpy, or where it is another."""
    with Worker(START_S, quiet=True) as worker:
        try:
            return worker.call(_engines, wanted, folder)
        except (InputError, OSError, RuntimeError) as error:  # the last with a traceback
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"OPENCV: {wanted} cannot be loaded: {reason}") from None


def _engines(wanted: str, folder: Path | None) -> list[str]:
    _enter(folder)
    import cv2

    # The package's version has a number more, that of the build: 4.14.0.94 is OpenCV 4.14.0.
    if not f"{wanted}.".startswith(f"{cv2.__version__.partition('-')[0]}."):
        hint = f" in {folder}; {ANEW}" if folder else ""
        raise InputError(f"found OpenCV {cv2.__version__}{hint}")
    from parity.backends.opencv import engines

    return sorted(engines())


def load_opencv_of(folder: Path | None, model: Path, params: OpenCVParams) -> Forward:
    """As `load_opencv`, in the OpenCV of a folder; for a process that has loaded none yet."""
    _enter(folder)
    from parity.backends.opencv import load_opencv

    return load_opencv(model, params)


def _enter(folder: Path | None) -> None:
    """Let this process load OpenCV from a folder; raises InputError where another one is loaded, as
    Python would take the installed one for a folder that has none."""
    if folder and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        import cv2
    except ImportError as error:
        raise InputError(" ".join(str(error).split())[:200]) from None
    found = Path(cv2.__file__ or "").resolve()
    if folder and folder.resolve() not in found.parents:
        raise InputError(f"there is none in {folder}; {ANEW}")
