"""The stage `infer_exact`: the exact answer, and why there is none."""

from pathlib import Path

import numpy as np
import pytest
from helpers.onnx_files import write_tiny_onnx
from helpers.params import write_params

from parity.backends.contract import BackendFailure
from parity.backends.float64 import load_float64
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference.predictions import images_with_logits, read_absence, read_image_logits
from parity.preprocessing.splits import Split
from stages import export_onnx, infer_exact, infer_onnxruntime, infer_pytorch, weights

NAME = "squeezenet1_1"
ONNX_ENTRY = {"task": "classification", "preprocess": "imagenet", "onnx": "bought.onnx"}


def exact_logits(name: str = NAME) -> np.ndarray:
    return np.load(prediction_folder(name, "exact") / "logits.npy")


def reason(name: str = NAME) -> str | None:
    return read_absence(name, "exact")


def test_the_answer_is_the_networks_without_rounding(converted):
    for stage in (infer_exact, infer_pytorch, infer_onnxruntime):
        stage.main([NAME])
    exact = exact_logits()
    assert exact.shape == (2, 10) and exact.dtype == np.float64
    for backend in ("pytorch", "onnxruntime"):
        logits = np.load(prediction_folder(NAME, backend) / "logits.npy")[:2]
        rel = np.abs(logits - exact).max() / np.abs(exact).max()
        assert 1e-9 < rel < 1e-5, backend
    assert reason() is None and not Path("data/unfinished").exists()


def test_two_runs_write_the_same_bytes(converted):
    infer_exact.main([NAME])
    before = exact_logits()
    infer_exact.main([NAME])
    np.testing.assert_array_equal(exact_logits(), before)


def test_a_segmentation_keeps_the_logits_of_each_image(prepared):
    write_tiny_onnx(Path("bought.onnx"), classes=8, task="segmentation")
    entry = ONNX_ENTRY | {"task": "segmentation", "preprocess": "voc"}
    write_params(prepared, {"models": {"bought": entry}, "exact.images.segmentation": 2})
    for stage in (weights, export_onnx, infer_exact):
        stage.main(["bought"])
    split = Split("voc", "val", "segmentation")
    assert images_with_logits("bought", "exact", split) == 2
    for index in range(2):
        logits = read_image_logits("bought", "exact", split, index)
        assert logits.dtype == np.float64
        assert logits.shape == (8, *split.images(index, index + 1).shape[1:3])


def test_no_images_turn_it_off(converted, capsys):
    infer_exact.main([NAME])
    write_params(converted, {"exact.images.classification": 0})
    infer_exact.main([NAME])
    assert reason() == "turned off: exact.images.classification is 0"
    assert f"{NAME}: no exact answer: turned off" in capsys.readouterr().err
    assert [path.name for path in prediction_folder(NAME, "exact").iterdir()] == ["absent.txt"]


def test_more_images_than_there_are_is_all_of_them(converted):
    write_params(converted, {"exact.images.classification": 99})
    infer_exact.main([NAME])
    assert len(exact_logits()) == 10


@pytest.fixture
def bought(prepared) -> Path:
    """A model that is an ONNX file from the start, converted."""
    write_tiny_onnx(Path("bought.onnx"))
    write_params(prepared, {"models": {"bought": ONNX_ENTRY}})
    for stage in (weights, export_onnx):
        stage.main(["bought"])
    return prepared


def test_an_onnx_file_is_computed_by_the_reference_evaluator(bought):
    for stage in (infer_exact, infer_onnxruntime):
        stage.main(["bought"])
    exact = exact_logits("bought")
    assert exact.dtype == np.float64
    logits = np.load(prediction_folder("bought", "onnxruntime") / "logits.npy")[:2]
    assert 1e-9 < np.abs(logits - exact).max() / np.abs(exact).max() < 1e-5


def test_a_file_of_a_fixed_batch_size_gets_whole_batches(bought, monkeypatch):
    sizes = []

    def load(path):
        forward = load_float64(path)
        return lambda blob: sizes.append(len(blob)) or forward(blob)

    monkeypatch.setattr(infer_exact, "load_float64", load)
    monkeypatch.setattr(infer_exact, "fixed_batch_size", lambda *_: 5)
    infer_exact.main(["bought"])
    assert sizes == [5] and len(exact_logits("bought")) == 5


def test_what_the_evaluator_cannot_run_leaves_its_reason(bought, monkeypatch, capsys):
    calls = []

    def fail_later(blob):
        calls.append(blob)
        if len(calls) > 1:
            raise BackendFailure("error", "no rule for\na node")
        return np.zeros((1, 10))

    monkeypatch.setattr(infer_exact, "load_float64", lambda _: fail_later)
    infer_exact.main(["bought"])
    assert reason("bought") == "no rule for a node"
    assert "bought: no exact answer: no rule for a node" in capsys.readouterr().err
    assert not unfinished_folder("bought", "exact").exists()
    assert [path.name for path in prediction_folder("bought", "exact").iterdir()] == ["absent.txt"]


def test_a_network_that_is_bound_to_float32_has_no_exact_answer(prepared):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    entry |= {"factory": "helpers.factories:bound_to_float32"}
    write_params(prepared, {"models": {"mine": entry}})
    weights.main(["mine"])
    infer_exact.main(["mine"])
    assert "PyTorch cannot run the network in float64: RuntimeError" in reason("mine")


def test_an_interrupted_run_resumes(converted, monkeypatch, capsys):
    calls = []

    def first_image_alone(blob):
        if calls:
            raise KeyboardInterrupt
        calls.append(blob)
        return np.zeros((1, 10))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(infer_exact, "load_saved_float64", lambda *_: first_image_alone)
        infer_exact.main([NAME])
    infer_exact.main([NAME])
    assert "resuming after 1 images" in capsys.readouterr().err
    exact = exact_logits()
    assert (exact[0] == 0).all() and (exact[1] != 0).any()
