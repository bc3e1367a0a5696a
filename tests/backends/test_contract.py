import pickle

import cv2
import numpy as np
import pytest
import torch
from helpers.backends import ON_CPU, unavailable_target
from helpers.params import SMALL, model_entry, write_params
from helpers.refusals import refused

from parity.backends.contract import (
    BACKENDS,
    BackendFailure,
    failure_text,
    pairs_of,
    reference_of,
)
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import check_opencv, load_opencv
from parity.backends.pytorch import load_pytorch
from parity.core.params import BackendParams, OpenCVParams, load_params
from parity.core.paths import weights_path
from parity.networks import export as onnx_export
from parity.networks.network import load_network

ALL_THREADS = BackendParams(threads=0)


def opencv(**changes) -> OpenCVParams:
    return OpenCVParams(**(SMALL["opencv"] | changes))


def blob(images: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(images)
    return rng.normal(size=(images, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("backend", ["onnxruntime", "auto", "classic", "new"])
def test_every_backend_and_engine_computes_what_pytorch_does(converted, exporter, images, backend):
    network = load_network(weights_path("squeezenet1_1"), "squeezenet1_1", model_entry(), 10)
    expected = load_pytorch(network, ON_CPU)(blob(images))
    path = converted / f"{exporter}.onnx"
    if backend == "onnxruntime":
        logits_of = load_onnxruntime(path, ALL_THREADS)
    else:
        logits_of = load_opencv(path, opencv(engine=backend))
    logits = logits_of(blob(images))
    assert logits.shape == (images, 10) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_outputs_do_not_change_when_the_next_blob_runs(converted):
    for load, params in ((load_onnxruntime, ALL_THREADS), (load_opencv, opencv())):
        logits_of = load(converted / "dynamo.onnx", params)
        first = logits_of(blob(1))
        kept = first.copy()
        logits_of(blob(2))
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"engine": "fast"}, "opencv.engine: found 'fast'; expected one of auto, classic, new"),
        ({"engine": "ort"}, "opencv.engine: found 'ort'; expected one of auto, classic, new"),
        ({"backend": "tensorrt"}, "opencv.backend: found 'tensorrt'; expected one of cann, cuda"),
        ({"target": "tpu"}, "opencv.target: found 'tpu'; expected one of cpu, cpu_fp16"),
    ],
)
def test_an_unknown_engine_backend_or_target_is_refused_with_the_known_ones(changes, expected):
    with refused(f"params.yaml: {expected}"):
        check_opencv(opencv(**changes))


@pytest.mark.parametrize("backend", ["default", "opencv"])
def test_a_target_that_this_opencv_lacks_is_refused_with_those_it_has(backend):
    target = unavailable_target()
    with refused(f"params.yaml: opencv.target: found {target!r}", cv2.__version__, "cpu"):
        check_opencv(opencv(backend=backend, target=target))


def test_a_backend_that_this_opencv_was_built_without_is_refused():
    if cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        pytest.skip("this OpenCV has CUDA")
    with refused("params.yaml: opencv.target: ", "for the backend 'cuda'; it has none"):
        check_opencv(opencv(backend="cuda", target="cuda"))


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
@pytest.mark.parametrize("content", [None, b"", b"two lines\nof text\n"])
def test_a_file_that_is_not_onnx_is_refused_by_name(tmp_path, engine, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with refused(f"{path}: OpenCV cannot read it: "):
        load_opencv(path, opencv(engine=engine))
    with refused(f"{path}: ONNX Runtime cannot read it: "):
        load_onnxruntime(path, ALL_THREADS)


def test_a_truncated_onnx_file_is_refused_by_name(converted):
    path = converted / "dynamo.onnx"
    path.write_bytes(path.read_bytes()[:100_000])
    with refused(f"{path}: OpenCV cannot read it: "):
        load_opencv(path, opencv())
    with refused(f"{path}: ONNX Runtime cannot read it: "):
        load_onnxruntime(path, ALL_THREADS)


def test_a_blob_of_a_size_that_the_model_does_not_accept_is_refused(project):
    fixed = {"export.dynamic_axes.classification": [], "inference.batch_size.classification": 1}
    write_params(project, fixed)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5)).eval()
    path = project / "model.onnx"
    export = load_params().export
    onnx_export.export(network, torch.zeros(2, 3, 8, 8), path, export, "classification")
    with refused(f"{path}: ONNX Runtime cannot run it: ", "input"):
        load_onnxruntime(path, ALL_THREADS)(blob(3, side=8))
    with refused(f"{path}: OpenCV cannot run it: "):
        load_opencv(path, opencv(engine="classic"))(blob(2, side=9))


def test_opencv_runs_on_the_configured_threads(converted):
    load_opencv(converted / "dynamo.onnx", opencv(threads=1))
    assert cv2.getNumThreads() == 1
    load_opencv(converted / "dynamo.onnx", opencv())
    assert cv2.getNumThreads() == cv2.getNumberOfCPUs()


def test_pytorch_is_the_reference_unless_the_model_is_an_onnx_file():
    assert reference_of(BACKENDS) == "pytorch"
    assert reference_of(["onnxruntime", "opencv"]) == "onnxruntime"


def test_a_pair_needs_both_of_its_backends():
    assert [*pairs_of(BACKENDS)] == [
        *("opencv_vs_pytorch", "onnxruntime_vs_pytorch", "opencv_vs_onnxruntime")
    ]
    only = {"opencv_vs_onnxruntime": ("opencv", "onnxruntime")}
    assert pairs_of(["onnxruntime", "opencv"]) == only
    assert pairs_of(["opencv"]) == {}


def test_a_failure_is_one_line_of_text_and_survives_pickling():
    failure = BackendFailure("error", "a.onnx: first\n  second")
    text = "OpenCV failed (error): a.onnx: first second"
    assert failure_text("opencv", failure.content()) == text
    assert pickle.loads(pickle.dumps(failure)).content() == failure.content()
