from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers.onnx_files import OPENCV_REFUSES, write_tiny_onnx, write_two_outputs
from helpers.params import SMALL
from helpers.refusals import refused

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker
from parity.backends.opencv import load_opencv, run_opencv
from parity.core.params import OpenCVParams

ENGINES = [cv2.dnn.ENGINE_NEW, cv2.dnn.ENGINE_CLASSIC]


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
def test_a_model_that_opencv_cannot_read_is_refused_also_where_it_returns_an_empty_net(
    tmp_path, engine
):
    path = write_tiny_onnx(tmp_path / "a.onnx", *OPENCV_REFUSES)
    with pytest.raises(BackendFailure, check=lambda failure: failure.kind == "refused") as caught:
        load_opencv(path, OpenCVParams(**(SMALL["opencv"] | {"engine": engine})))
    assert str(caught.value).startswith(f"{path}: OpenCV cannot read it: ")
    assert ("its network is empty" in str(caught.value)) == (engine == "new")


@pytest.mark.process
@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_of_several_inputs_and_outputs_runs(tmp_path, engine):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> two '
        "(float[1, 2, 4, 4] a, float[1, 2, 4, 4] b) => (float[1, 2, 4, 4] c, float[1, 2, 4, 4] d)"
        "{ c = Add (a, b) d = Relu (c) }"
    )
    onnx.save(model, tmp_path / "a.onnx")
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((1, 2, 4, 4)).astype(np.float32) for name in ("b", "a")}
    with BackendWorker(60, quiet=True) as worker:
        d, c = worker.call(run_opencv, tmp_path / "a.onnx", engine, 1, feeds, ["d", "c"])
    np.testing.assert_array_equal(c, feeds["a"] + feeds["b"])
    np.testing.assert_array_equal(d, np.maximum(c, 0))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_one_of_several_outputs_is_found_by_its_name(tmp_path, engine, swapped):
    path = write_two_outputs(tmp_path / "a.onnx", swapped=swapped, size=8)
    feeds = {"input": np.ones((1, 3, 8, 8), np.float32)}
    logits, negative = (run_opencv(path, engine, 1, feeds, [name])[0] for name in ("0", "aux"))
    np.testing.assert_array_equal(logits, -negative)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_run_opencv_cannot_read_is_refused_in_one_line(tmp_path, engine):
    path = Path(tmp_path / "a.onnx")
    path.write_bytes(b"no model")
    with refused("OpenCV cannot read it: "):
        run_opencv(path, engine, 1, {}, ["y"])
