"""The bundle of an entry of `models`, from stages that ran in this folder."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.onnx_files import write_tiny_onnx
from helpers.params import write_params
from helpers.refusals import refused
from helpers.results import faithful, onnx_only

from parity.bundle.content import Content, Unproven
from parity.bundle.of_model import content_of_model
from parity.core.params import load_params
from parity.core.paths import dataset_path, mended_path, results_path
from parity.evaluation.results import Results, write_results
from parity.inference.predictions import read_logits, read_pixel_logits
from parity.preprocessing.images import normalize, read_image
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split
from stages import export_onnx, infer_onnxruntime, infer_pytorch, mend

CLS, SEG = "squeezenet1_1", "colours"
SEGMENTATION = {"task": "segmentation", "preprocess": "voc", "onnx": "colours.onnx"}


def of_model(name: str, images: int = 3, force: bool = False) -> Content:
    return content_of_model(name, load_params(), images, force)


@pytest.fixture
def evaluated(converted) -> Results:
    """The results of a classification that passes; its PyTorch predictions are on the disk."""
    infer_pytorch.main([CLS])
    results = faithful(model=CLS)
    write_results(results)
    return results


@pytest.fixture
def segmented(prepared) -> Results:
    """The results of an ONNX file that passes; two of its three images keep their logits."""
    write_tiny_onnx(Path("colours.onnx"), classes=8, task="segmentation")
    write_params(prepared, {"models": {SEG: SEGMENTATION}})
    for stage in (export_onnx, mend, infer_onnxruntime):
        stage.main([SEG])
    scores = {name: {"mean_iou": 90.0} for name in ("onnxruntime", "opencv")}
    results = dataclasses.replace(onnx_only(), model=SEG, task="segmentation", scores=scores)
    write_results(results)
    return results


def test_it_holds_the_blobs_and_predictions_of_the_pipeline(evaluated):
    content = of_model(CLS, images=4)
    split = Split("imagenet", "val", "classification")
    listed = json.loads(dataset_path("textures").read_text())
    files = [Path(listed["root"]) / one["image"] for one in listed["val"]]
    assert len(content.examples) == 4
    for example in content.examples:
        index = files.index(example.file)
        expected = normalize(split.images(index, index + 1), **read_normalization("imagenet"))
        assert example.blob.tobytes() == expected.tobytes()
        logits = read_logits(CLS, "pytorch", index, index + 1)
        assert example.logits.tobytes() == logits.tobytes()
        np.testing.assert_array_equal(example.pixels, read_image(files[index]))
    assert content.onnx == mended_path(CLS) and content.data_files == []
    assert content.preprocess["size"]["crop"] == 64 and "--height 64 " in content.flags
    assert content.reference.startswith("pytorch 2.")
    assert (content.verdict, content.forced) == ("pass", False)


def test_the_limits_are_the_gates(evaluated):
    """Where exactness is known it is the judge, and `rel` is the backstop."""
    content = of_model(CLS)
    assert (content.rel, content.agreement) == (1e-3, 99.9)
    write_results(
        dataclasses.replace(evaluated, exact=faithful().exact.__class__(0, "off", {}, {}))
    )
    assert of_model(CLS).rel == 1e-4
    write_params(Path(), {"gate.overrides": {CLS: {"rel": 2e-4, "agreement": 50}}})
    content = of_model(CLS)
    assert (content.rel, content.agreement) == (2e-4, 50)


def test_an_onnx_files_reference_is_onnx_runtime_which_computes_what_was_not_kept(segmented):
    content = of_model(SEG)
    assert content.reference.startswith("onnxruntime 1.") and len(content.classes) == 8
    names = Split("voc", "val", "segmentation").names
    assert [one.file.stem for one in content.examples] == names
    for name, example in zip(names, content.examples, strict=True):
        assert example.logits.shape == (1, 8, *example.pixels.shape[:2])
        if name != names[2]:
            kept = read_pixel_logits(SEG, "onnxruntime", name)
            assert example.logits[0].tobytes() == kept.tobytes()


def test_a_model_that_does_not_pass_is_refused_with_its_verdict_unless_forced(evaluated):
    write_results(faithful(model=CLS, parity={"opencv_vs_onnxruntime": {"rel": 0.5}}))
    with pytest.raises(Unproven) as caught:
        of_model(CLS)
    words = str(caught.value)
    assert words.startswith("FAIL: OpenCV against ONNX Runtime: rel 0.5") and "owner: " in words
    content = of_model(CLS, force=True)
    assert content.forced and content.verdict == words


def test_a_vacuous_result_proves_nothing(evaluated):
    pairs = {pair: {"spread": 0.0} for pair in evaluated.parity}
    write_results(faithful(model=CLS, parity=pairs))
    with pytest.raises(Unproven, match=r"^vacuous: the outputs of PyTorch differ"):
        of_model(CLS)


def test_images_that_were_left_out_are_not_counted(evaluated):
    split = Path("data/preprocessed/imagenet/val")
    names = (split / "names.txt").read_text().splitlines()
    listed = json.loads(dataset_path("textures").read_text())
    listed["val"].insert(1, {"image": "images/broken.JPEG", "target": 0})
    dataset_path("textures").write_text(json.dumps(listed))
    with refused("data/preprocessed/imagenet/val: not of the images in data/textures/dataset.json"):
        of_model(CLS)
    (split / "skipped.txt").write_text("images/broken.JPEG: the image is damaged\n")
    assert {one.file.stem for one in of_model(CLS).examples} <= set(names)


def test_results_that_are_missing_are_named(converted):
    with pytest.raises(FileNotFoundError, match=str(results_path(CLS))):
        of_model(CLS)
