"""The pipeline, small, run once for all tests of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.dvc_runs import (
    SMALL_PIPELINE,
    copied,
    copy_working_tree,
    dvc,
    edit,
    git,
)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory) -> Path:
    """The pipeline, small, run once and committed. Who writes into it takes a `copy`."""
    root = tmp_path_factory.mktemp("pipeline")
    copy_working_tree(root)
    edit(root, SMALL_PIPELINE)
    git(root, "config", "user.name", "test")
    git(root, "config", "user.email", "test@localhost")
    dvc(root, "repro")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "small")
    return root


@pytest.fixture
def copy(pipeline, tmp_path) -> Iterator[Path]:
    """The finished pipeline, to change and to run again."""
    yield copied(pipeline, tmp_path)
    shutil.rmtree(tmp_path)
