"""The stage `evaluate`: metrics, log and confusion matrices, from predictions by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.params import write_params

from parity.backends.contract import BACKENDS, BackendFailure
from parity.core.files import write_json
from parity.core.params import load_params
from parity.core.paths import mending_path, prediction_folder
from parity.inference.predictions import (
    LogitsWriter,
    MaskWriter,
    write_absence,
    write_failure,
)
from parity.preprocessing.splits import Split, write_lines
from stages import evaluate

PAIRS = ["opencv_vs_pytorch", "onnxruntime_vs_pytorch", "opencv_vs_onnxruntime"]


def write_split(profile: str, names: list[str]) -> Path:
    folder = Path("data/preprocessed") / profile
    (folder / "val").mkdir(parents=True)
    write_lines(folder / "classes.txt", [f"class {number}" for number in range(6)])
    write_lines(folder / "val/names.txt", names)
    return folder / "val"


def classification(logits: dict[str, np.ndarray], labels: list[int]) -> None:
    """Write a split of `labels` and what each backend predicts."""
    folder = write_split("imagenet", [f"image {number}" for number in range(len(labels))])
    np.save(folder / "labels.npy", np.array(labels))
    split = Split("imagenet", "val", "classification")
    for backend, rows in logits.items():
        write_logits(backend, rows, split)
    write_absence("squeezenet1_1", "exact", "turned off")


def write_logits(backend: str, rows: np.ndarray, split: Split, dtype: type = np.float32) -> None:
    out = prediction_folder("squeezenet1_1", backend)
    out.mkdir(parents=True, exist_ok=True)
    writer = LogitsWriter(out, split, rows.shape[1], dtype)
    writer.write(0, rows)
    writer.close()


def metrics(name: str = "squeezenet1_1") -> dict:
    evaluate.main([name])
    return json.loads(Path(f"metrics/{name}.json").read_text())


@pytest.fixture(autouse=True)
def not_mended(project) -> None:
    for name in (*load_params().models, "fcn_resnet50"):
        write_json(mending_path(name), {"mend": "none"})


@pytest.fixture
def five(project) -> dict[str, np.ndarray]:
    """Logits of five images; OpenCV differs from the others in one logit by 8."""
    logits = {backend: 4 * np.eye(6, dtype=np.float32)[:5] for backend in BACKENDS}
    logits["opencv"][4, 0] = 8
    classification(logits, labels=[0, 1, 2, 0, 4])
    return logits


@pytest.mark.parametrize("batch_size", [1, 2, 99])
def test_classification_against_a_case_by_hand(project, five, batch_size):
    write_params(project, {"inference.batch_size.classification": batch_size})
    result = metrics()
    assert (
        list(result) == ["images", *BACKENDS, "parity", "exact"] and list(result["parity"]) == PAIRS
    )
    assert result["images"] == 5
    # Image 3 is wrong everywhere, image 4 in OpenCV; the right class is among the first five.
    assert result["pytorch"] == {"acc@1": 80, "acc@5": 100, "nonfinite": 0}
    assert result["opencv"] == {"acc@1": 60, "acc@5": 100, "nonfinite": 0}
    assert result["parity"]["onnxruntime_vs_pytorch"] == {
        "l1": 0,
        "linf": 0,
        "rel": 0,
        "agreement": 100,
        "ties": 0,
        "spread": 1,
    }
    assert result["parity"]["opencv_vs_pytorch"] == {
        "l1": pytest.approx(8 / 30),
        "linf": 8,
        "rel": 2,
        "agreement": 80,
        "ties": 20,
        "spread": 1,
    }


def test_classes_are_compared_of_all_images_and_logits_of_the_first(project, five):
    write_params(project, {"parity.images.classification": 4})
    parity = metrics()["parity"]["opencv_vs_pytorch"]
    assert parity == {"l1": 0, "linf": 0, "rel": 0, "agreement": 80, "ties": 0, "spread": 1}


def test_a_nan_is_null_in_the_metrics_and_never_right(project):
    logits = {backend: np.eye(6, dtype=np.float32) for backend in BACKENDS}
    logits["opencv"][:] = np.nan
    classification(logits, labels=list(range(6)))
    result = metrics()
    assert result["opencv"] == {"acc@1": 0, "acc@5": 0, "nonfinite": 6}
    parity = result["parity"]["opencv_vs_pytorch"]
    assert (parity["l1"], parity["linf"], parity["rel"]) == (None, None, None)
    assert (parity["agreement"], parity["ties"]) == (0, 0), "not even where class 0 is right"
    log = Path("metrics/logs/squeezenet1_1.log").read_text()
    assert log.endswith("OpenCV: NaN or infinity in the outputs of 6 images\n")


# Exactness


def test_the_rules_that_mended_the_file_are_in_the_metrics(project, five):
    found = {"rules": {"hard_sigmoid": 9}, "proof": {"interface": True}}
    write_json(mending_path("squeezenet1_1"), found | {"mend": "auto", "tried": ["why"]})
    assert metrics()["mending"] == found


def write_exact(rows: np.ndarray) -> None:
    """Replace the absence of the exact answer by that to the first images."""
    shutil.rmtree(prediction_folder("squeezenet1_1", "exact"))
    split = Split("imagenet", "val", "classification").first(len(rows))
    write_logits("exact", rows, split, np.float64)


def test_exactness_against_a_case_by_hand(project, five):
    """The fifth image, the only one in which OpenCV differs, is not among the first two."""
    exact = 4 * np.eye(6)[:2]
    exact[0, 5], exact[1, 5] = 3e-9, 4e-9
    write_exact(exact)
    found = metrics()["exact"]
    assert list(found) == ["images", *BACKENDS, "ratio"] and found["images"] == 2
    near = {"rel": pytest.approx(1e-9), "rms": pytest.approx(5e-9 / np.sqrt(32))}
    assert [found[backend] for backend in BACKENDS] == [near] * 3
    ratio = pytest.approx(near["rms"].expected * 2**24)
    assert found["ratio"] == {"onnxruntime": ratio, "opencv": ratio}, "PyTorch has no luck"


def test_exactness_of_all_images_sees_opencvs_fault(project, five):
    write_exact((4 + 4e-6) * np.eye(6)[:5])
    found = metrics()["exact"]
    assert found["pytorch"] == {name: pytest.approx(1e-6, rel=1e-3) for name in ("rel", "rms")}
    assert found["ratio"]["onnxruntime"] == pytest.approx(1)
    assert found["ratio"]["opencv"] == pytest.approx(8 / np.sqrt(80) / 1e-6, rel=1e-3)
    log = Path("metrics/logs/squeezenet1_1.log").read_text()
    assert log.splitlines()[-1].startswith("rms from float64, 5 images: pytorch 1e-06  onnxruntime")


def test_without_an_exact_answer_there_is_its_reason(project, five):
    assert metrics()["exact"] == {"images": 0, "reason": "turned off"}
    log = Path("metrics/logs/squeezenet1_1.log").read_text()
    assert log.endswith("exactness unknown: turned off\n")


def test_the_exactness_of_a_nan_is_null(project, five):
    rows = 4 * np.eye(6, dtype=np.float32)[:5]
    rows[0, 0] = np.nan
    write_logits("opencv", rows, Split("imagenet", "val", "classification"))
    write_exact((4 + 4e-6) * np.eye(6)[:5])
    found = metrics()["exact"]
    assert found["opencv"] == {"rel": None, "rms": None} and found["ratio"]["opencv"] is None
    assert found["ratio"]["onnxruntime"] == pytest.approx(1)


def fail(backend: str, model: str = "squeezenet1_1") -> dict[str, str]:
    """Replace a backend's predictions by a failure."""
    folder = prediction_folder(model, backend)
    shutil.rmtree(folder)
    folder.mkdir()
    failure = BackendFailure("crashed", "the process was ended by SIGSEGV")
    write_failure(folder, failure)
    return failure.content()


def test_a_backend_that_failed_is_left_out_with_its_pairs_and_named(project, five, capsys):
    failure = fail("opencv")
    result = metrics()
    assert list(result) == ["images", "pytorch", "onnxruntime", "parity", "exact", "failures"]
    assert list(result["parity"]) == ["onnxruntime_vs_pytorch"]
    assert result["failures"] == {"opencv": failure}
    line = "OpenCV failed (crashed): the process was ended by SIGSEGV\n"
    assert Path("metrics/logs/squeezenet1_1.log").read_text().endswith(line)
    assert capsys.readouterr().err.endswith(line)


def test_a_reference_left_alone_keeps_its_scores(project, five):
    failures = {backend: fail(backend) for backend in ("onnxruntime", "opencv")}
    result = metrics()
    assert list(result) == ["images", "pytorch", "parity", "exact", "failures"]
    assert result["parity"] == {} and result["failures"] == failures


def test_the_log_has_a_line_per_batch_and_ends_with_the_scores(project, five):
    write_params(project, {"inference.batch_size.classification": 2})
    metrics()
    lines = Path("metrics/logs/squeezenet1_1.log").read_text().splitlines()
    assert lines[0] == "squeezenet1_1: classification, 5 images, 6 classes"
    assert [line.split()[0] for line in lines[1:4]] == ["2/5", "4/5", "5/5"]
    assert "opencv 60.00" in lines[3]
    assert "opencv: acc@1 60.00 %  acc@5 100.00 %" in lines
    assert any(line.startswith("opencv_vs_pytorch: ") and "80.000 %" in line for line in lines)


def test_the_log_gives_an_agreement_as_the_tables_do_and_no_ties(project, five):
    """OpenCV is wrong by twice the largest logit, so that a flip is no tie, whatever the margin."""
    assert metrics()["parity"]["opencv_vs_pytorch"]["ties"] == 20
    log = Path("metrics/logs/squeezenet1_1.log").read_text()
    assert "rel 2  agreement 80.000 %  spread 1\n" in log
    assert "rel 0  agreement 100 %  spread 1\n" in log and "ties" not in log


def test_the_confusion_of_every_backend_is_kept(project, five):
    metrics()
    with np.load("data/evaluation/squeezenet1_1/confusion.npz") as confusion:
        assert set(confusion) == set(BACKENDS)
        assert confusion["pytorch"].trace() == 4 and confusion["pytorch"][0, 3] == 1
        assert confusion["opencv"][4, 0] == 1


def test_two_evaluations_write_the_same_bytes(project, five):
    files = ("metrics/squeezenet1_1.json", "metrics/logs/squeezenet1_1.log")
    metrics()
    first = [Path(file).read_bytes() for file in files]
    metrics()
    assert [Path(file).read_bytes() for file in files] == first


def test_segmentation_against_a_case_by_hand(project):
    entry = {"task": "segmentation", "preprocess": "voc", "weights": "random"}
    write_params(project, {"models.fcn_resnet50": entry, "parity.images.segmentation": 1})
    folder = write_split("voc", ["a", "b"])
    (folder / "masks").mkdir()
    np.save(folder / "masks/a.npy", np.array([[0, 0, 1], [1, 255, 255]], np.uint8))
    np.save(folder / "masks/b.npy", np.array([[2], [2]], np.uint8))
    split = Split("voc", "val", "segmentation")
    predicted = {"a": np.array([[0, 1, 1], [1, 0, 0]]), "b": np.array([[2], [2]])}
    for backend in BACKENDS:
        out = prediction_folder("fcn_resnet50", backend)
        out.mkdir(parents=True)
        writer = MaskWriter(out, split, keep_logits=1)
        for index, name in enumerate(split.names):
            logits = np.eye(6, dtype=np.float32)[predicted[name]].transpose(2, 0, 1)[None]
            if backend == "opencv":
                # Of image a one ignored pixel changes its class, of b both; b keeps no logits.
                logits[..., -1, -1] = np.eye(6)[3] * 2
                logits[..., 0, 0] += index * 9 * np.eye(6)[4]
            writer.write(index, logits)
        writer.close()

    out = prediction_folder("fcn_resnet50", "exact") / "logits"
    out.mkdir(parents=True)
    for name in split.names:  # of b no backend kept its logits
        exact = (1 + 1e-6) * np.eye(6)[predicted[name]].transpose(2, 0, 1)
        np.save(out / f"{name}.npy", exact)

    result = metrics("fcn_resnet50")
    assert result["images"] == 2
    assert result["exact"]["images"] == 1
    assert result["exact"]["pytorch"]["rms"] == pytest.approx(1e-6, rel=1e-3)
    # Two of a's pixels: one logit from 1 to 0 and one from 0 to 2, of 6 logits of 1.
    assert result["exact"]["opencv"]["rms"] == pytest.approx(np.sqrt(5 / 6), rel=1e-3)
    assert result["exact"]["opencv"]["rel"] == pytest.approx(2, rel=1e-3)
    assert result["pytorch"] == {
        "pixel_acc": pytest.approx(100 * 5 / 6),
        "mean_acc": pytest.approx(100 * (1 / 2 + 1 + 1) / 3),
        "mean_iou": pytest.approx(100 * (1 / 2 + 2 / 3 + 1) / 3),
        "fw_iou": pytest.approx(100 * (2 * 1 / 2 + 2 * 2 / 3 + 2 * 1) / 6),
        "nonfinite": 0,
    }
    assert result["onnxruntime"] == result["pytorch"]
    assert result["opencv"]["pixel_acc"] == pytest.approx(100 * 3 / 6)
    parity = result["parity"]["opencv_vs_pytorch"]
    assert parity["agreement"] == pytest.approx(100 * 5 / 8)
    # Of a: one pixel of six, where one class went from 1 to 0 and another from 0 to 2.
    assert parity["l1"] == pytest.approx(3 / 36)
    assert (parity["linf"], parity["rel"]) == (2, 2)
    # The flip in a is between logits 1 apart; those in b nobody can judge.
    assert parity["ties"] == pytest.approx(100 * 1 / 8)
    assert parity["spread"] is None, "of one image"


def test_a_nan_in_a_pixel_is_no_class_0_and_an_infinity_is_counted(project):
    entry = {"task": "segmentation", "preprocess": "voc", "weights": "random"}
    write_params(project, {"models.fcn_resnet50": entry, "parity.images.segmentation": 2})
    names = ["a", "b", "c"]
    folder = write_split("voc", names)
    (folder / "masks").mkdir()
    split = Split("voc", "val", "segmentation")
    for name in names:
        np.save(folder / f"masks/{name}.npy", np.zeros((1, 4), np.uint8))
    for backend in BACKENDS:
        out = prediction_folder("fcn_resnet50", backend)
        out.mkdir(parents=True)
        writer = MaskWriter(out, split, keep_logits=2)
        for index in range(3):
            logits = np.zeros((1, 6, 1, 4), np.float32)
            logits[:, 0] = index + 1
            if backend == "opencv" and index == 0:
                logits[0, 3, 0, 1] = np.nan
            if backend == "opencv" and index == 2:
                logits[0, 0, 0, 1] = np.inf
            writer.write(index, logits)
        writer.close()
    write_absence("fcn_resnet50", "exact", "turned off")
    result = metrics("fcn_resnet50")
    assert result["opencv"]["nonfinite"] == 2 and result["pytorch"]["nonfinite"] == 0
    assert result["opencv"]["pixel_acc"] == pytest.approx(100 * 11 / 12)
    parity = result["parity"]["opencv_vs_pytorch"]
    assert parity["agreement"] == pytest.approx(100 * 11 / 12) and parity["ties"] == 0
    assert parity["rel"] is None
    assert result["parity"]["onnxruntime_vs_pytorch"]["spread"] == 1 / 2  # of a and b
    with np.load("data/evaluation/fcn_resnet50/confusion.npz") as confusion:
        assert confusion["opencv"][0].tolist() == [11, 0, 0, 0, 0, 0, 1]
