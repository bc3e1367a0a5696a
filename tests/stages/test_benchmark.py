"""The stage `benchmark`: the blob, the file it writes, and backends that fail."""

import json

import numpy as np
import pytest
from helpers.onnx_files import CRASH, ERROR, NOTHING, write_tiny_model
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.params import entry, load_params
from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split
from stages import benchmark


def test_the_blob_is_the_first_image_repeated_to_the_batch_size(prepared):
    write_params(prepared, {"benchmark.batch_size.classification": 3})
    params = load_params()
    blob = benchmark.first_image_repeated(entry(params, "models", "squeezenet1_1"), params)
    profile = entry(params, "preprocess", "imagenet")
    image = Split("imagenet", "val", "classification").images(0, 1)
    assert blob.shape == (3, 3, 64, 64)
    for one in blob:
        np.testing.assert_array_equal(one, normalize(image, profile.mean, profile.std)[0])


def test_the_stage_writes_the_times_of_every_backend_and_what_they_depend_on(converted):
    write_params(converted, {"benchmark.batch_size.classification": 2})
    benchmark.main(["squeezenet1_1"])
    result = json.loads((converted / "metrics/benchmark/squeezenet1_1.json").read_text())
    backends = ["pytorch", "onnxruntime", "opencv"]
    ratio = ["opencv_over_pytorch", "opencv_over_pytorch_interval"]
    where = ["blob", "conditions", "environment"]
    assert list(result) == ["batch_size", "runs", *backends, *ratio, *where]
    assert (result["batch_size"], result["runs"]) == (2, 3)
    assert result["blob"] == [2, 3, 64, 64]
    for backend in backends:
        times = result[backend]
        assert list(times) == ["median_ms", "p95_ms", "images_per_s"]
        assert 0 < times["median_ms"] <= times["p95_ms"]
        assert times["images_per_s"] == pytest.approx(2000 / times["median_ms"])
    assert result["opencv_over_pytorch"] > 0
    environment = result["environment"]
    assert environment["cpu"] and environment["opencv"]["target"] == "cpu"
    assert all(environment[backend]["threads"] >= 1 for backend in ("pytorch", "opencv"))


@pytest.mark.parametrize(("ends", "kind"), [(CRASH, "crashed"), (NOTHING, "shape")])
def test_a_backend_that_fails_is_left_out_and_reported(converted, capsys, ends, kind):
    write_tiny_model("squeezenet1_1", *ends)
    benchmark.main(["squeezenet1_1"])
    result = json.loads((converted / "metrics/benchmark/squeezenet1_1.json").read_text())
    assert result["failures"]["opencv"]["kind"] == kind and "opencv" not in result
    assert result["opencv_over_pytorch"] is None
    assert result["pytorch"]["median_ms"] > 0
    assert result["environment"]["opencv"]["version"]
    # ONNX Runtime refuses the division by 0 too.
    assert (
        ("onnxruntime" in result) == ("onnxruntime" not in result["failures"]) == (ends is NOTHING)
    )
    assert f"squeezenet1_1: OpenCV failed ({kind}): " in capsys.readouterr().err


def test_without_the_reference_there_is_nothing_to_compare_with(converted):
    write_tiny_model("squeezenet1_1", *ERROR)
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "any.onnx"}
    write_params(converted, {"models.squeezenet1_1": entry})
    with refused("model.onnx: ONNX Runtime cannot run it: "):
        benchmark.main(["squeezenet1_1"])
