"""A bundle of what the pipeline proved, and of nothing else."""

import sys
from pathlib import Path

import pytest
from helpers.bundles import unpack, verify_alone
from helpers.dvc_runs import CLS, SEG, Run, edit, run

pytestmark = pytest.mark.pipeline


def bundle(root: Path, *args: str) -> Run:
    return run(root, sys.executable, "-m", "tools.bundle", *args, ok=False)


def test_both_tasks_verify_themselves_and_a_changed_constant_proves_nothing(copy, tmp_path_factory):
    device = tmp_path_factory.mktemp("device")
    for name, images in ((CLS, "4"), (SEG, "3")):  # SEG keeps the logits of two
        done = bundle(copy, name, "--images", images)
        assert done.code == 0, done.output
        verified = verify_alone(unpack(copy / f"models/{name}/bundle.zip", device / name))
        assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
        assert "proven with pytorch 2." in verified.stdout
    edit(copy, {"preprocess.imagenet.size.resize": 300})
    done = bundle(copy, CLS)
    assert done.code == 2
    assert f"data/results/{CLS}.json: not of the present inputs" in done.output
