import json

import onnx
import pytest
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.paths import mended_path, mending_path, onnx_path
from stages import mend

NAME = "mobilenet_v3_small"
ENTRY = {"task": "classification", "preprocess": "imagenet", "weights": "random"}

pytestmark = pytest.mark.process


@pytest.fixture
def wrong(mobilenet_by_dynamo):
    """A project whose model OpenCV gets wrong."""
    return mobilenet_by_dynamo


def mended(project, how) -> dict:
    write_params(project, {"models": {NAME: ENTRY | {"mend": how}}})
    mend.main([NAME])
    return json.loads(mending_path(NAME).read_text())


def ops() -> list[str]:
    return [node.op_type for node in onnx.load(mended_path(NAME)).graph.node]


def test_without_mending_opencv_reads_the_exported_file(wrong):
    assert mended(wrong, "none") == {"mend": "none"}
    assert mended_path(NAME).read_bytes() == onnx_path(NAME).read_bytes()


@pytest.mark.parametrize("how", ["auto", ["hard_sigmoid"]])
def test_a_wrong_model_is_mended(wrong, how):
    found = mended(wrong, how)
    assert found["mend"] == how and found["mended"] and found["rules"] == {"hard_sigmoid": 9}
    assert (found["before"]["verdict"], found["after"]["verdict"]) == ("different", "same")
    assert all(found["proof"].values()) and len(found["proof"]) == 3
    assert "HardSigmoid" not in ops()


def test_an_unknown_rule_is_refused_and_nothing_is_written(wrong):
    mending_path(NAME).unlink(missing_ok=True)
    with refused("params.yaml: ", f"models.{NAME}.mend", "hard_sigmoyd", "hard_sigmoid"):
        mended(wrong, ["hard_sigmoyd"])
    assert not mending_path(NAME).exists()
