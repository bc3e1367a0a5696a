"""DVC as `make` runs it: in a terminal, which of how many stages runs; the same dvc.lock."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.dvc_runs import ENVIRONMENT
from helpers.terminals import Seen, in_terminal

pytestmark = pytest.mark.process

STAGES = """
stages:
  first:
    cmd: echo 1 > a
    outs: [a]
  second:
    foreach: [x]
    do:
      cmd: cp a b; sleep 1.6
      deps: [a]
      outs: [b]
  third:
    cmd: echo out; cp b c
    deps: [b]
    outs: [c]
  apart:
    cmd: exit 3
"""


@pytest.fixture
def repo(tmp_path) -> Path:
    command = [sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"]
    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    site_cache = f"[core]\n    site_cache_dir = {tmp_path}/.dvc/tmp/site\n"
    (tmp_path / ".dvc/config.local").write_text(site_cache)
    return tmp_path


def reproduced(repo: Path, *targets: str) -> Seen:
    command = [sys.executable, "-m", "parity.core.dvc_command", "repro", *targets]
    return in_terminal(command, ENVIRONMENT | {"PYTHONPATH": str(ROOT)}, cwd=repo)


def places(seen: Seen) -> list[str]:
    """The lines that stay of the stages that ran, less their times."""
    return re.findall(r"^(\[\d+/\d+\] \S+), \d+ s$", seen.text, re.MULTILINE)


def test_each_stage_that_runs_has_its_place_and_a_skipped_one_counts_as_done(repo):
    seen = reproduced(repo, "second@x")
    assert seen.code == 0
    assert places(seen) == ["[1/2] first", "[2/2] second@x"]
    assert "[2/2] second@x, 1 s" in seen.erased, "shown while it runs"
    again = reproduced(repo, "third")
    assert places(again) == ["[3/3] third"]
    assert "\nout\n" in again.text and "Stage 'second@x' didn't change, skipping" in again.text


def test_a_stage_that_fails_ends_as_with_dvc_and_leaves_no_line(repo):
    seen = reproduced(repo, "apart")
    assert seen.code == 255 and "exited with 3" in seen.text
    assert not places(seen)


def test_without_a_terminal_it_prints_and_writes_what_dvc_does(repo):
    seen = []
    for module in ("dvc", "parity.core.dvc_command"):
        command = [sys.executable, "-m", module, "repro", "third"]
        environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=repo, env=environment, capture_output=True, check=True)
        seen.append((done.stdout, (repo / "dvc.lock").read_bytes()))
        for output in "abc":
            (repo / output).unlink()
        (repo / "dvc.lock").unlink()
        shutil.rmtree(repo / ".dvc/cache")
    assert seen[0] == seen[1]
    assert b"third" in seen[0][0]


@pytest.mark.parametrize(
    ("module", "in_place"), [("dvc", True), ("parity.core.dvc_command", False)]
)
def test_it_replaces_the_lock_file_which_dvc_overwrites(repo, module, in_place):
    def reproduce() -> None:
        command = [sys.executable, "-m", module, "repro", "first"]
        environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=repo, env=environment, capture_output=True, check=True)

    reproduce()
    before = (repo / "dvc.lock").read_bytes()
    (repo / "link").hardlink_to(repo / "dvc.lock")
    stages = repo / "dvc.yaml"
    stages.write_text(stages.read_text().replace("echo 1 > a", "echo 2 > a"))
    reproduce()
    assert (repo / "dvc.lock").read_bytes() != before
    assert ((repo / "link").read_bytes() != before) is in_place
