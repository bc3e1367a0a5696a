from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.params import SMALL, write_params
from helpers.refusals import refused

from parity.backends.onnxruntime import load_onnxruntime
from parity.core.params import BackendParams, load_params
from parity.faults.candidates import (
    REWRITES,
    export_again,
    other_exports,
    rewrite,
    write_rewritten,
)
from parity.faults.settings import FILE_LIMITS
from parity.faults.workaround import ModelWithReference, attempt
from stages import weights

MODEL = "squeezenet1_1"
SHAPE = (1, 3, 64, 64)


@pytest.mark.parametrize("how", list(REWRITES))
def test_a_rewritten_file_computes_the_same(converted, how):
    path = converted / f"models/{MODEL}/model.onnx"
    blob = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)
    write_rewritten(how, path, blob.shape, Path(f"{how}.onnx"))
    onnx.checker.check_model(f"{how}.onnx", full_check=True)
    ours, theirs = (
        load_onnxruntime(file, BackendParams(threads=1))(blob)
        for file in (Path(f"{how}.onnx"), path)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_file_that_cannot_be_rewritten_is_a_failure_with_its_reason(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    candidate = rewrite("basic", path, SHAPE, tmp_path, None)
    assert candidate.path is None and candidate.failure.startswith("cannot be written: ")
    with refused("broken.onnx: onnxruntime's basic optimisation: cannot be written: "):
        write_rewritten("basic", path, SHAPE, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.process
def test_an_export_of_fixed_sizes_is_tried_image_by_image(converted):
    params = load_params()
    now = params.export
    exports = other_exports(now, "classification")
    found = [(one.exporter, one.dynamic_axes.classification) for one in exports]
    other = "dynamo" if now.exporter == "torchscript" else "torchscript"
    assert found == [(other, ["batch"]), (now.exporter, []), (other, [])]
    model = params.models[MODEL]
    candidate = export_again(MODEL, model, params, (2, 3, 64, 64), exports[1], converted)
    assert candidate.shape == SHAPE
    assert candidate.label == f"exporter {now.exporter}, fixed input size"
    axes, batch = f"`models.{MODEL}.export.dynamic_axes: []`", "inference.batch_size: 1`"
    advice = f"{axes} and `models.{MODEL}.{batch} in params.yaml, for images of one size"
    assert candidate.advice == advice
    assert candidate.settings == {"export": {"dynamic_axes": []}, "inference": {"batch_size": 1}}
    blobs = [np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)]
    forward = load_onnxruntime(Path(f"models/{MODEL}/model.onnx"), params.onnxruntime)
    known = ModelWithReference(MODEL, forward, "ONNX Runtime", FILE_LIMITS, (1,), blobs)
    cropped = known.cropped(candidate.shape)
    assert [blob.shape for blob in cropped.blobs] == [SHAPE] * 3
    assert attempt(cropped, candidate, params.opencv, None).passes


BRANCHING = """
from torch import nn

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 10)

    def forward(self, blob):
        return self.linear(blob.mean((2, 3)) if blob.sum() > 0 else blob.amax((2, 3)))

def network():
    return Branching()
"""


def test_an_exporter_that_refuses_a_network_is_a_failure_with_its_reason(converted, monkeypatch):
    monkeypatch.syspath_prepend(str(converted))
    (converted / "branching.py").write_text(BRANCHING)
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    entry |= {"factory": "branching:network"}
    write_params(converted, {"models": SMALL["models"] | {"mine": entry}})
    params = load_params()
    weights.main(["mine"])
    (other, *fixed) = other_exports(params.export, "classification")
    assert len(fixed) == 2
    candidate = export_again("mine", params.models["mine"], params, SHAPE, other, converted)
    assert candidate.path is None and candidate.label == "exporter dynamo"
    assert "cannot be exported" in candidate.failure and "data-dependent" in candidate.failure
