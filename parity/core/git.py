"""Files of earlier revisions."""

import subprocess
from pathlib import Path


def file_at(revision: str, path: Path) -> bytes | None:
    """Return a tracked file as a revision of Git has it, or an experiment of DVC by its name; None
    where there is no such revision, or it has no such file."""
    if revision.startswith("-"):  # an option
        return None
    for name in (revision, *_experiments(revision)):
        shown = _git("show", f"{name}:{path.as_posix()}")
        if shown.returncode == 0:
            return shown.stdout
    return None


def _experiments(name: str) -> list[str]:
    """The commits of the experiments of that name: DVC keeps them as references of Git."""
    listed = _git("for-each-ref", "--format=%(objectname) %(refname:lstrip=-1)", "refs/exps")
    lines = [line.split(" ", 1) for line in listed.stdout.decode(errors="replace").splitlines()]
    return [commit for commit, last in lines if last == name]


def _git(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *command], capture_output=True, check=False)
