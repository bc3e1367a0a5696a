"""Packages in folders of their own, beside those of requirements.txt: other versions of OpenCV, and
the zoos of `coverage.zoo`.

Everything else stays the environment's, so that a difference is the packages'. A process enters a
folder before it loads anything from it.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from parity.core.cli import InputError

FOLDER = Path("data/coverage")
REINSTALL = "remove this folder, and the next run installs it again"


def install(requirements: Sequence[str], folder: Path, key: str) -> None:
    """Install exact versions, each as `name==version`, into a folder, without their dependencies.

    Raises InputError, which begins with `key`, where pip cannot: it names the version that does not
    exist, with the last ones that do.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--target", str(folder)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if not done.returncode:
        return
    missing = re.search(r"requirement (\S+)==(\S+) \(from versions: (.+?)\)", done.stderr)
    if missing and missing[3] != "none":
        newest = ", ".join(missing[3].split(", ")[-5:])
        raise InputError(f"{key}: {missing[1]} has no version {missing[2]}; the last are {newest}")
    wanted = ", ".join(requirements).replace("==", " ")
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise InputError(f"{key}: pip cannot install {wanted}: {reason}")


def enter_folder(folder: Path) -> None:
    """Let this process import from a folder, before all others."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
