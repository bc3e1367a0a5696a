"""Files of earlier revisions, read from a repository of Git."""

import subprocess
from pathlib import Path

import pytest
from helpers.dvc_runs import without_git

from parity.core.git import file_at

FILE = Path("folder/file.json")


def git(*command: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *identity, *command], check=True, capture_output=True, env=without_git(), text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(project):
    """Two commits; the second removes FILE, and a folder is there in both."""
    FILE.parent.mkdir()
    FILE.write_bytes(b"first \xff\0")
    Path("other").write_text("-")
    git("init", "--quiet")
    git("add", "folder", "other")
    git("commit", "--quiet", "-m", "first")
    git("update-ref", "refs/exps/ab/cdef/named-by-dvc", "HEAD")
    git("rm", "--quiet", str(FILE))
    git("commit", "--quiet", "-m", "second")


def test_a_file_is_read_byte_for_byte_by_commit_tag_and_experiment(repository):
    git("tag", "v1", "HEAD~1")
    for revision in ("HEAD~1", "v1", git("rev-parse", "HEAD~1"), "named-by-dvc"):
        assert file_at(revision, FILE) == b"first \xff\0"


def test_none_where_there_is_no_such_revision_or_file(repository):
    for revision in ("HEAD", "nothing", "named-by", "", "--output=here", "HEAD~1:other --"):
        assert file_at(revision, FILE) is None
    assert not Path("here").exists()


def test_none_outside_a_repository(project):
    assert file_at("HEAD", FILE) is None
