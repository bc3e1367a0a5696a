"""Run stages and tools on a disk that refuses: full, read-only, without inodes, not permitted.

`ended_on` starts this file in a mount namespace of its own, where no root is needed, with the disk
in memory. The libraries are imported once: each command runs in a fork.
"""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNSHARE = ("unshare", "--map-root-user", "--mount")
# Root without its right to overlook permissions.
SETPRIV = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
DISK_MB = 64
FILLER = "filler"


def may_mount() -> bool:
    if not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    command = [*UNSHARE, *SETPRIV, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


needs_mount = pytest.mark.skipif(not may_mount(), reason="this user may not mount")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the files that it changed, removed or left behind."""

    code: int
    stdout: str
    stderr: str
    changed: list[str]


def ended_on(disk: str, project: Path, commands: list[list[str]], folder: Path) -> list[Ended]:
    """Run commands one after the other, each a module and its arguments, on a disk that holds a
    copy of `project` and is `full`, `read-only`, `without inodes`, `not permitted`, or has some
    bytes left."""
    job = {"disk": disk, "project": str(project), "commands": commands, "folder": str(folder)}
    command = [*UNSHARE, *SETPRIV, sys.executable, str(Path(__file__)), json.dumps(job)]
    # One thread a process: the cores are shared with whatever else runs.
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return [Ended(**one) for one in json.loads((folder / "ended.json").read_text())]


def main(job: dict) -> None:
    import cv2  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import torchvision  # noqa: F401

    folder = Path(job["folder"])
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", disk], check=True)
    shutil.copytree(job["project"], disk, dirs_exist_ok=True)
    spoil(disk, job["disk"])
    os.chdir(disk)
    ended, before = [], digests()
    for command in job["commands"]:
        code, out, err = run(command, folder)
        after = digests()
        changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        ended.append({"code": code, "stdout": out, "stderr": err, "changed": sorted(changed)})
        before = after
    (folder / "ended.json").write_text(json.dumps(ended))


def spoil(disk: Path, how: str) -> None:
    if how == "read-only":
        remount(disk, "ro")
    elif how == "without inodes":
        found = os.statvfs(disk)
        remount(disk, f"nr_inodes={found.f_files - found.f_ffree}")
    elif how == "not permitted":
        for folder in (disk, *(path for path in disk.rglob("*") if path.is_dir())):
            folder.chmod(0o555)
    else:
        free = 0 if how == "full" else int(how)
        with (disk / FILLER).open("wb", buffering=0) as file:
            file.truncate(DISK_MB << 20)
            size = 0
            try:
                while True:
                    size += file.write(bytes(4096))
            except OSError:
                file.truncate(size - free)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def run(command: list[str], folder: Path) -> tuple[int, str, str]:
    out, err = folder / "stdout", folder / "stderr"
    child = os.fork()
    if not child:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os._exit(exit_code(command))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, out.read_text(), err.read_text()


def exit_code(command: list[str]) -> int:
    sys.argv = command
    try:
        runpy.run_module(command[0], run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def digests() -> dict[str, str]:
    files = [path for path in Path().rglob("*") if path.is_file() and path.name != FILLER]
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return found | {f"{path}/": "" for path in Path().rglob("*") if path.is_dir()}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(json.loads(sys.argv[1]))
