"""Run the pipeline, as `make` does: `dvc repro`, and what a person would have to know around it.

One run at a time. A dvc.lock that an interrupted run left half-written is replaced by the copy from
before that run. A folder that is no Git repository works as well, such as an unpacked archive.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from parity.core.cli import InputError, log, run
from parity.core.files import locked

LOCK = Path("dvc.lock")
# DVC writes dvc.lock in place. The copy is removed when a run ends well.
LOCK_BEFORE = Path(".dvc/tmp/dvc.lock.before")
DVC = (sys.executable, "-m", "dvc")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.repro", description=__doc__)
    parser.add_argument("targets", nargs="*", help="stages; default: the whole pipeline")
    targets = parser.parse_args(argv).targets
    LOCK_BEFORE.parent.mkdir(parents=True, exist_ok=True)
    with locked(LOCK_BEFORE.parent, "another `make` is running here; wait until it ends"):
        if not in_git_repository():
            work_without_git()
        take_back_lock()
        if not Path("models").exists() and Path(".dvc/cache").exists():
            subprocess.run([*DVC, "checkout", "--quiet"], stderr=subprocess.DEVNULL, check=False)
        if LOCK.exists():
            shutil.copyfile(LOCK, LOCK_BEFORE)
        code = wait_for([*DVC, "repro", *targets])
        if code == 0:
            LOCK_BEFORE.unlink(missing_ok=True)
    sys.exit(code)


def in_git_repository() -> bool:
    return any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))


def work_without_git() -> None:
    """Tell DVC, in its local configuration, that there is no repository to look for."""
    command = [*DVC, "config", "--local", "core.no_scm", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "dvc config failed").splitlines()[-1]
        raise InputError(f".dvc/config.local: {reason}; or run `git init`")
    log("no Git repository here: DVC works without one")


def take_back_lock() -> None:
    """Replace a dvc.lock that cannot be read by its copy; raises InputError without a copy."""
    reason = damage(LOCK)
    if reason is None:
        return
    if LOCK_BEFORE.exists() and damage(LOCK_BEFORE) is None:
        LOCK_BEFORE.replace(LOCK)
        log(f"{LOCK}: damaged; taken back to what it was before the last run")
        return
    mend = "`git checkout dvc.lock` brings back the committed one"
    if not in_git_repository():
        mend = "delete it, and all stages run again"
    raise InputError(f"{LOCK}: damaged ({reason}); {mend}")


def damage(path: Path) -> str | None:
    """Why a dvc.lock cannot be used; None where it can, or where there is none."""
    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError:
        return None
    except (YAMLError, UnicodeDecodeError) as error:
        return " ".join(str(error).split())[:120]
    if not isinstance(content, dict) or not isinstance(content.get("stages", {}), dict):
        return "it lists no stages"
    # A file cut off between two keys is still YAML.
    stages = content.get("stages", {}).values()
    whole = all(isinstance(stage, dict) and "cmd" in stage for stage in stages)
    return None if whole and content.get("schema") else "it is cut off"


def wait_for(command: list[str]) -> int:
    """Run a command and return its exit code. It gets Ctrl-C as well and is left to end by itself:
    killed, DVC would leave its stage running."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


if __name__ == "__main__":
    run(main)
