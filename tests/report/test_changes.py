"""What changed since another revision."""

import json
import subprocess

from helpers.dvc_runs import without_git
from helpers.refusals import refused

from parity.core.paths import OVERVIEW
from parity.report.changes import Change, find_changes

OLD = {
    "net": {"verdict": "pass", "acc@1": {"opencv": 90.0}, "rel": 1e-6, "ms": {"opencv": 10.0}},
    "gone": {"verdict": "pass"},
}
NEW = {
    "net": {"verdict": "FAIL", "acc@1": {"opencv": 90.0}, "rel": None, "ms": {"opencv": 15.0}},
    "added": {"verdict": "pass"},
}


def git(*command: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *command], check=True, capture_output=True, env=without_git())


def write(content: object) -> None:
    OVERVIEW.parent.mkdir(exist_ok=True)
    OVERVIEW.write_text(json.dumps(content))


def test_what_differs_stands_side_by_side_also_for_an_experiment(project):
    write(OLD)
    git("init", "--quiet")
    git("add", str(OVERVIEW))
    git("commit", "--quiet", "-m", "old")
    git("update-ref", "refs/exps/ab/cdef/strict", "HEAD")
    write(NEW)
    expected = [
        Change("net", "verdict", "pass", "FAIL", ""),
        Change("net", "rel", "1e-06", "-", ""),
        Change("net", "ms opencv", "10", "15", "1.50 times"),
        Change("added", "model", "not there", "there", ""),
        Change("gone", "model", "there", "not there", ""),
    ]
    assert find_changes("HEAD") == expected
    assert find_changes("strict") == expected
    write(OLD)
    assert find_changes("HEAD") == []
    for revision in ("other", "--output=x"):
        with refused(f"{revision}: neither a revision of Git nor an experiment of DVC"):
            find_changes(revision)
    write([1])
    git("commit", "--quiet", "-am", "damaged")
    with refused("HEAD: metrics/overview.json: not an overview"):
        find_changes("HEAD")
