from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.faulty import parse
from helpers.params import write_params

from parity.backends.contract import BackendFailure
from parity.core.params import BackendParams, load_params
from parity.faults import workaround
from parity.faults.settings import FILE_LIMITS, FILE_OPENCV, on_cpu
from parity.faults.workaround import (
    Outcome,
    conclusion,
    first_blobs,
    known_model,
    short_lived,
    short_reason,
    smallest_setting,
    try_file,
    try_model,
)

MODEL = "squeezenet1_1"


@pytest.mark.process
def test_another_engine_is_the_smallest_change(tmp_path, one_rewrite):
    path = tmp_path / "given.onnx"
    onnx.save(parse("y = Unique (x)", "float[N, 2, H, W] x", "float[M] y"), path)
    blob = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
    opencv = on_cpu(FILE_OPENCV, "classic")
    outcomes = try_file(path, blob, opencv, FILE_LIMITS, BackendParams(threads=0))
    first = outcomes[0]
    assert first.passes and (first.change, first.engine) == ("engine new", "new")
    assert first.advice == "`opencv.engine: new` in params.yaml" and first.ms > 0
    unchanged = next(one for one in outcomes if one.change == "unchanged")
    assert not unchanged.passes and unchanged.failure.startswith("error: ")


def outcome(change: str, change_size: int, ms: float, failure: str = "") -> Outcome:
    return Outcome(change, "1 MB", "auto", change_size, "do it", ms=ms, failure=failure)


def test_the_smallest_change_that_works_is_named():
    passing = [outcome("engine classic", 1, ms=9), outcome("exporter dynamo", 3, ms=1)]
    lines = list(conclusion("any", [*passing, outcome("unchanged", 0, 1, "rel 1")]))
    works = "any: the smallest change that works: engine classic, 9.0 ms an image"
    assert lines == ["", works, "  do it"]
    assert list(conclusion("any", [outcome("unchanged", 0, 1, "rel 1")]))[1] == (
        "any: none of these changes works"
    )


def test_what_will_not_last_is_named_with_what_will():
    passing = [outcome("engine classic", 1, ms=9), outcome("exporter dynamo", 3, ms=1)]
    passing[0].short_lived = short_lived("dynamo", "classic")
    assert passing[0].row()[1] == "passes, not lasting" and passing[1].row()[1] == "passes"
    assert list(conclusion("any", passing))[3:] == [
        "  not lasting: OpenCV 5.x has removed the engine classic on its main branch",
        "  the smallest that lasts: exporter dynamo: do it",
    ]
    assert "deprecated the exporter torchscript and OpenCV" in short_lived("torchscript", "classic")
    assert short_lived("dynamo", "auto") == short_lived("", "new") == ""


def test_the_smallest_change_that_settings_make_is_chosen():
    rewritten, exported = outcome("rewritten", 2, ms=1), outcome("exporter dynamo", 3, ms=1)
    refused_one = outcome("engine new", 1, 1, "refused")
    exported.settings = {"export": {"exporter": "dynamo"}, "opencv": {"engine": "new"}}
    refused_one.settings = {"opencv": {"engine": "new"}}
    found = smallest_setting([rewritten, exported, refused_one])
    assert found == {"export.exporter": "dynamo", "opencv.engine": "new"}
    assert smallest_setting([rewritten, refused_one]) == {}


@pytest.mark.process
def test_the_heaps_of_params_yaml_are_used(converted, monkeypatch):
    write_params(converted, {"stability.perturb": [7, 9]})
    params, values = load_params(), []
    monkeypatch.setattr(workaround, "dirty_heap", lambda value: values.append(value) or {})
    model = params.models[MODEL]
    (found,) = try_model(MODEL, model, params, first_blobs(MODEL, model, params))
    assert found.passes and values == [7, 9]


def test_a_model_is_known_by_pytorch_or_by_onnxruntime_if_it_is_onnx_from_the_start(converted):
    params = load_params()
    model, blobs = params.models[MODEL], [np.zeros((1, 3, 64, 64), np.float32)]
    by_pytorch = known_model(MODEL, model, params, blobs)
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "dynamo.onnx"}
    write_params(converted, {f"models.{MODEL}": entry})
    params = load_params()
    by_onnxruntime = known_model(MODEL, params.models[MODEL], params, blobs)
    assert (by_pytorch.reference, by_onnxruntime.reference) == ("PyTorch", "ONNX Runtime")
    np.testing.assert_allclose(by_pytorch.expected[0], by_onnxruntime.expected[0], atol=1e-4)


def test_a_failure_in_the_table_is_its_reason_and_short():
    message = (
        "a.onnx: OpenCV cannot read it: OpenCV(5.0.0) /io/modules/dnn/src/onnx/importer.cpp:1114: "
        "error: (-2:Unspecified error) in function 'handleNode' > Node [Shape@ai.onnx]:"
        "(onnx_node!node_Shape_0) parse error: OpenCV(5.0.0) /io/modules/dnn/src/other.cpp:2591: "
        "error: (-215:Assertion failed) !isDynamicShape in function 'parseShape' >"
    )
    reason = short_reason(BackendFailure("refused", message), Path("a.onnx"))
    assert reason == "Node [Shape@ai.onnx]: !isDynamicShape"
    row = Outcome("basic", "", "", 2, "", failure=f"cannot be written: {'x' * 99}").row()
    assert len(row[1]) == 60 and row[1].endswith("x...") and row[2:] == ["-"] * 5
