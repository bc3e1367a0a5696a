"""Run the pipeline, as `make` does: `dvc repro`, and what DVC leaves to the person at the keyboard.

One run at a time. A dvc.lock that an interrupted run left half-written is replaced by the copy from
before that run. A result that is no longer what its stage wrote is made again, and so is one that
DVC restored from a damaged cache. Where nothing has changed since the last run, DVC is not started.
A run that fails leaves the last good results. In a terminal it says which of how many stages runs.
A folder without Git, such as an unpacked archive, works too.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parity.core.cli import InputError, log, run, wait_for
from parity.core.dvc_command import DVC
from parity.core.files import locked, new_file
from parity.core.last_run import is_up_to_date, note_whole_run, set_up
from parity.core.lockfile import (
    LOCK,
    damaged_files,
    discard_damaged_object,
    lock_damage,
    locked_outputs,
    restore_outputs,
)
from parity.core.params import Params, load_params

TEMPORARY = Path(".dvc/tmp")
# DVC writes a dvc.lock with comments in place. The copy is removed when a run ends well.
LOCK_BEFORE = TEMPORARY / "dvc.lock.before"
REPLACED = TEMPORARY / "replaced"
# DVC's list of the files that its processes use. It writes this one in place too.
IN_USE = TEMPORARY / "rwlock"
PLAIN_DVC = (sys.executable, "-m", "dvc")  # for what runs no stage
ROUNDS = 3  # of making again what was damaged


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.repro", description=__doc__)
    parser.add_argument("targets", nargs="*", help="stages; default: the whole pipeline")
    targets = parser.parse_args(argv).targets
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    with locked(TEMPORARY, "another `make` is running here; wait until it ends"):
        params = load_params()  # one line where DVC would end in a traceback or a screen of YAML
        configure()
        take_back_lock()
        remove_damaged_list()
        with last_outputs_left():
            code = repro(targets, params)
            if code:
                sys.exit(code)
        LOCK_BEFORE.unlink(missing_ok=True)


@contextmanager
def last_outputs_left() -> Iterator[None]:
    """When the run fails, bring back the results that DVC deleted for a stage that then failed."""
    there = [one for one in locked_outputs() if one.path.exists()]
    try:
        yield
    except BaseException:
        for one in restore_outputs(there):
            log(f"{one.path}: as {one.stage} last wrote it")
        raise


def repro(targets: list[str], params: Params) -> int:
    """Run what changed until every result is what its stage wrote; returns DVC's exit code."""
    if not set_aside_damaged() and not targets and is_up_to_date(params):
        log("nothing has changed since the last run")
        return 0
    before = set_up()
    missing = any(not one.path.exists() for one in locked_outputs())
    if missing and Path(".dvc/cache").exists():
        # Faster than stage by stage. What the cache lacks is made below.
        subprocess.run([*PLAIN_DVC, "checkout", "--quiet"], stderr=subprocess.DEVNULL, check=False)
        set_aside_damaged()
    for _ in range(ROUNDS):
        if LOCK.exists():
            with new_file(LOCK_BEFORE) as partial:
                shutil.copyfile(LOCK, partial)
        code = wait_for([*DVC, "repro", *targets])
        if not code and not targets:
            note_whole_run(before)
        if code or not set_aside_damaged():
            return code
    raise InputError(f"{REPLACED}: results keep changing after their stages wrote them; see there")


def set_aside_damaged() -> bool:
    """Move away the results that are not what their stage wrote, and remove damaged objects from
    DVC's cache, so that DVC makes them again. Returns whether there were any."""
    damaged = damaged_files(locked_outputs())
    for path, output in damaged.items():
        for md5 in (output.md5, (output.files() or {}).get(path)):
            if md5:
                discard_damaged_object(md5)
        aside = REPLACED / path
        aside.parent.mkdir(parents=True, exist_ok=True)
        path.replace(aside)
        log(f"{path}: not what {output.stage} wrote; made again, the other file is {aside}")
    return bool(damaged)


def configure() -> None:
    """Set what depends on this checkout in DVC's local configuration."""
    local = Path(".dvc/config.local")
    settings = local.read_text(encoding="utf-8") if local.exists() else ""
    if not in_git_repository() and "no_scm" not in settings:
        set_option("core.no_scm", "true")
        log("no Git repository here: DVC works without one")
    # A hard link is write-protected, which does not stop root: a write would reach the cache.
    if os.geteuid() == 0 and "type" not in settings:
        set_option("cache.type", "reflink,copy")


def set_option(name: str, value: str) -> None:
    command = [*PLAIN_DVC, "config", "--local", name, value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "it failed").splitlines()[-1]
        raise InputError(f".dvc/config.local: `dvc config --local {name} {value}`: {reason}")


def in_git_repository() -> bool:
    return any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))


def take_back_lock() -> None:
    """Replace a dvc.lock that cannot be read by its copy; raises InputError without a copy."""
    reason = lock_damage()
    if reason is None:
        return
    if LOCK_BEFORE.exists() and lock_damage(LOCK_BEFORE) is None:
        LOCK_BEFORE.replace(LOCK)
        log(f"{LOCK}: damaged; taken back to what it was before the last run")
        return
    mend = "`git checkout dvc.lock` brings back the committed one"
    if not in_git_repository():
        mend = "delete it, and all stages run again"
    raise InputError(f"{LOCK}: damaged ({reason}); {mend}")


def remove_damaged_list() -> None:
    """Remove the list of files in use that a killed run left cut off: DVC refuses to read it."""
    with suppress(FileNotFoundError):
        try:
            json.loads(IN_USE.read_text(encoding="utf-8"))
        except ValueError:
            IN_USE.unlink()


if __name__ == "__main__":
    run(main)
