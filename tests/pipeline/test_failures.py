"""What a backend cannot do with a model is a result: the stages go on, and all of them tell it."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.onnx_files import (
    ALL_NAN,
    CRASH,
    ERROR,
    FLOAT,
    INT64,
    NOTHING,
    OPENCV_REFUSES,
    SQUARE,
    write_tiny_model,
)
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.paths import prediction_folder
from parity.evaluation.results import read_results
from parity.inference import resume as unfinished
from parity.inference.predictions import read_logits
from stages import infer_onnxruntime, infer_opencv, summary, weights

pytestmark = pytest.mark.pipeline

NAME = "squeezenet1_1"
OUT = prediction_folder(NAME, "opencv")


def failure(backend: str = "opencv") -> dict:
    """What a failed stage wrote, which must be all that it left."""
    folder = prediction_folder(NAME, backend)
    assert [path.name for path in folder.iterdir()] == ["failure.json"]
    assert not Path("data/unfinished").exists()
    content = json.loads((folder / "failure.json").read_text())
    assert list(content) == ["kind", "message"] and "\n" not in content["message"]
    return content


@pytest.fixture
def tiny(prepared) -> None:
    """A prepared project with the tiny network as the model."""
    write_tiny_model(NAME)


@pytest.mark.parametrize(
    ("ends", "changes", "kind", "parts"),
    [
        ([], {"opencv.engine": "classic"}, "refused", ["mended.onnx: OpenCV cannot read it: "]),
        (ERROR, {}, "error", ["mended.onnx: OpenCV cannot run it: ", "outside of range"]),
        (CRASH, {}, "crashed", ["forward pass of a blob of (4, 3, 64, 64)", "SIGFPE"]),
        (NOTHING, {}, "shape", ["mended.onnx: OpenCV: found None as its output"]),
        ([], {"opencv.time_limit": 0.01}, "timeout", ["reading the model", "within 0.01 s"]),
    ],
    ids=["refused", "error", "crashed", "shape", "timeout"],
)
def test_what_opencv_cannot_do_takes_the_place_of_its_predictions(
    tiny, capsys, ends, changes, kind, parts
):
    infer_opencv.main([NAME])
    assert read_logits(NAME, "opencv", 0, 10).shape == (10, 10)
    write_tiny_model(NAME, *ends)
    write_params(Path(), changes)
    infer_opencv.main([NAME])
    found = failure()
    assert found["kind"] == kind and all(part in found["message"] for part in parts)
    assert f"{NAME}: OpenCV failed ({kind}): {found['message']}\n" in capsys.readouterr().err


def test_a_wrong_shape_is_a_failure_of_both_that_read_the_file(tiny):
    write_tiny_model(NAME, classes=7)
    for backend, stage in (("opencv", infer_opencv), ("onnxruntime", infer_onnxruntime)):
        stage.main([NAME])
        found = failure(backend)
        assert found["kind"] == "shape"
        assert "output is (4, 7); expected (4, 10): 10 classes" in found["message"]


def test_what_onnx_runtime_cannot_do_is_a_result_unless_it_is_the_reference(tiny):
    write_tiny_model(NAME, *ERROR)
    infer_onnxruntime.main([NAME])
    assert failure("onnxruntime")["kind"] == "error"
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "any.onnx"}
    write_params(Path(), {f"models.{NAME}": entry})
    with refused("model.onnx: ONNX Runtime cannot run it: "):
        infer_onnxruntime.main([NAME])


def test_a_target_that_is_not_there_is_wrong_input_and_no_failure(tiny):
    write_params(Path(), {"opencv.engine": "fast"})
    with refused("opencv.engine: found 'fast'"):
        infer_opencv.main([NAME])
    assert not OUT.exists()


def test_a_failure_behind_some_batches_leaves_none_of_them(tiny, monkeypatch):
    monkeypatch.setattr(unfinished, "MAX_SAVING_SHARE", 1e9)  # saves each batch
    images = np.full((10, 64, 64, 3), 255, np.uint8)
    images[4:] = (
        124,
        116,
        104,
    )  # the mean colour: all logits are about 0, by which nothing divides
    np.save("data/preprocessed/imagenet/val/images.npy", images)
    write_tiny_model(
        NAME,
        ("Mul", {"inputs": [np.float32(10)]}),
        ("Cast", INT64),
        ("Div", SQUARE),
        ("Cast", FLOAT),
    )
    write_params(Path(), {"inference.batch_size.classification": 4})
    infer_opencv.main([NAME])
    assert failure()["kind"] == "crashed"
    np.save("data/preprocessed/imagenet/val/images.npy", images[[0] * 10])
    infer_opencv.main([NAME])
    assert (read_logits(NAME, "opencv", 0, 10) == 1).all(), "the next run knows nothing of it"


def test_nan_is_a_result_of_its_own(tiny):
    write_tiny_model(NAME, *ALL_NAN)
    infer_opencv.main([NAME])
    assert np.isnan(read_logits(NAME, "opencv", 0, 10)).all()


# The stages behind it

RIGHT, CRASHES, EMPTY, NAN = "squeezenet1_1", "squeezenet1_0", "mnasnet0_5", "shufflenet_v2_x0_5"
REFUSES = "lraspp_mobilenet_v3_large"
MODELS = (RIGHT, CRASHES, EMPTY, NAN, REFUSES)
STAGES = (
    "infer_pytorch",
    "infer_onnxruntime",
    "infer_opencv",
    "infer_exact",
    "evaluate",
    "stability",
    "benchmark",
)


@pytest.fixture(scope="session")
def _reported(_converted, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reported")
    shutil.copytree(_converted, folder, dirs_exist_ok=True)
    classifier = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    models = dict.fromkeys(MODELS, classifier)
    models[REFUSES] = {"task": "segmentation", "preprocess": "voc", "weights": "random"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        changes = {"models": models, "pytorch.threads": 1, "plot.dpi": 100}
        write_params(folder, changes | {"stability.perturb": [1]})
        for name in MODELS[1:]:
            weights.main([name])
        write_tiny_model(REFUSES, *OPENCV_REFUSES, classes=8, task="segmentation")
        for name, ends in ((CRASHES, CRASH), (EMPTY, NOTHING), (NAN, ALL_NAN)):
            write_tiny_model(name, *ends)
        for name in MODELS:
            for stage in (*STAGES, "results", "plot"):
                importlib.import_module(f"stages.{stage}").main([name])
        summary.main([])
    return folder


@pytest.fixture
def reported(_reported, monkeypatch) -> Path:
    """A project whose stages all ran, with a model that is right and four with another ONNX file in
    its place: one that crashes OpenCV (ONNX Runtime refuses it), one that gives nothing, one of
    NaN, and a segmentation that OpenCV refuses. To read, not to write."""
    monkeypatch.chdir(_reported)
    return _reported


def test_the_results_of_a_model_tell_what_failed(reported):
    kinds = {
        name: {backend: one["kind"] for backend, one in read_results(name).failures.items()}
        for name in MODELS
    }
    assert kinds == {
        RIGHT: {},
        CRASHES: {"onnxruntime": "refused", "opencv": "crashed"},
        EMPTY: {"onnxruntime": "shape", "opencv": "shape"},
        NAN: {},
        REFUSES: {"opencv": "refused"},
    }


def test_the_results_of_a_model_have_what_is_left(reported):
    crashed = read_results(CRASHES)
    for by_backend in (crashed.scores, crashed.nonfinite, crashed.benchmark.timings):
        assert list(by_backend) == ["pytorch"]
    assert crashed.parity == {} and crashed.benchmark.ratio is None
    assert crashed.reference == "pytorch" and crashed.stability.stable is None
    assert list(read_results(REFUSES).parity) == ["onnxruntime_vs_pytorch"]
    assert read_results(RIGHT).stability.stable is True
    assert read_results(NAN).nonfinite == {"pytorch": 0, "onnxruntime": 10, "opencv": 10}
    parity = read_results(RIGHT).parity["opencv_vs_onnxruntime"]
    assert parity.rel < 1e-5 and parity.spread > 0 and parity.ties == 0


def test_every_picture_of_a_model_that_failed_is_drawn(reported):
    for name in MODELS:
        names = ["gallery", "iou"] if name == REFUSES else ["confusion"]
        paths = sorted(Path(f"plots/models/{name}").iterdir())
        assert [path.stem for path in paths] == names
        assert all(path.stat().st_size > 5000 for path in paths)


def cells(name: str) -> dict[str, str]:
    lines = Path("plots/summary.md").read_text().splitlines()
    header, row = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (lines[0], next(line for line in lines if line.startswith(f"| {name}")))
    )
    return dict(zip(header, row, strict=True))


def test_the_table_has_a_dash_where_there_is_nothing(reported):
    row = cells(CRASHES)
    dashes = {name for name, cell in row.items() if cell == "-"}
    assert dashes == {
        *("exact", "ORT %", "OpenCV %", "l1", "linf", "rel", "export", "engine", "agree %"),
        *("ORT ms", "OpenCV ms", "OpenCV/PyTorch"),
    }
    assert cells(REFUSES)["export"] not in ("-", "0") and cells(REFUSES)["engine"] == "-"
    assert "-" not in cells(RIGHT).values()


def test_the_lines_below_the_table_tell_what_is_wrong(reported):
    text = " ".join(Path("plots/summary.md").read_text().split())
    for line in (
        f"{CRASHES}: OpenCV failed (crashed): a forward pass of a blob of (4, 3, 64, 64): the"
        " process was ended by SIGFPE",
        f"{CRASHES}: ONNX Runtime failed (refused): models/{CRASHES}/model.onnx: ",
        f"{EMPTY}: OpenCV failed (shape): ",
        f"{NAN}: OpenCV: NaN or infinity in the outputs of 10 images",
        f"{REFUSES}: OpenCV failed (refused): models/{REFUSES}/mended.onnx: OpenCV cannot read it",
    ):
        assert line in text
    assert f"{RIGHT}: " not in text


def test_where_every_model_failed_there_is_a_summary_too(reported, monkeypatch, tmp_path):
    shutil.copytree(reported / "data/results", tmp_path / "data/results")
    content = json.loads(Path("params.yaml").read_text())
    content["models"] = {CRASHES: content["models"][CRASHES]}
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps(content))
    summary.main([])
    header = "model,pair,label,l1,linf,rel,agreement,ties,spread\n"
    assert Path("plots/parity.csv").read_text() == header
    for name in ("accuracy", "inference_time", "parity"):
        assert Path(f"plots/{name}.png").stat().st_size > 5000
