"""`make classify` and `make segment`: a model on one image, in OpenCV and in PyTorch."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.backends import ON_CPU
from helpers.checkout import REAL, needs_real
from helpers.dvc_runs import (
    CLS,
    ENVIRONMENT,
    SEG,
    SMALL_PIPELINE,
    Run,
    copy_working_tree,
    edit,
    run,
)
from helpers.images import noise, write_image
from helpers.params import MEAN, MISSING, SMALL, STD, model_entry, write_params
from PIL import Image

from parity.backends.pytorch import load_pytorch
from parity.bundle import device
from parity.core.class_ids import voc_palette
from parity.core.params import CropParams
from parity.core.paths import mended_path, weights_path
from parity.evaluation.pictures.answers import Answer
from parity.evaluation.pictures.panels import DIFFERENT, SEEN_THROUGH
from parity.evaluation.verdict import Limits
from parity.networks.network import load_network
from parity.preprocessing.images import normalize, read_image, resize_and_crop
from stages import export_onnx, fetch, mend, preprocess, transform, weights
from tools import demo, run_onnx

SEGMENTATION = {
    "export.exporter": "torchscript",  # OpenCV 5.0.0 refuses to run the other one's file
    f"models.{SEG}": {"task": "segmentation", "preprocess": "voc", "weights": "random"},
    "pytorch.threads": 1,
    "opencv.threads": 1,
}
PUBLISHED = Path(torch.hub.get_dir()) / "checkpoints/resnet50-0676ba61.pth"
FOX_SQUIRREL = 335, REAL / "imagenet/images/n02356798_fox_squirrel.JPEG"
FIRST = "data/textures/images/sample_val_00000001.JPEG"
NUMBER = r"\d\.\de[+-]\d\d|nan"
CLASS_ROW = re.compile(r"^ *(\d+)  (.+?) +(-?\d+\.\d{4}|nan) +(\d+\.\d\d|nan) %$", re.MULTILINE)
AREA_ROW = re.compile(r"^ *(\d+)  (.+?) +(\d+\.\d\d) %$", re.MULTILINE)
OPENCV_BLUE, PYTORCH_ORANGE = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)  # bars of a picture
LIMITS = Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1)
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")

pytestmark = pytest.mark.process


@dataclass(frozen=True)
class Tried:
    """How the demo ended, and what it printed: on stdout first of OpenCV, then of PyTorch."""

    code: int
    output: str
    errors: str

    @property
    def parts(self) -> tuple[str, str]:
        opencv, _, pytorch = self.output.partition("\nPyTorch ")
        return opencv, pytorch

    @property
    def verdict(self) -> str:
        """What the line after the two answers says of them."""
        return re.search(r"^\S+: OpenCV and PyTorch (.*)$", self.output, re.MULTILINE)[1]

    @property
    def apart(self) -> tuple[float, float]:
        """By how much the logits differ: the most, and relative to the largest."""
        numbers = rf"logits at most ({NUMBER}) apart, ({NUMBER}) of the largest( \(.+ limit .+\))?$"
        linf, rel, _ = re.search(numbers, self.verdict).groups()
        return float(linf), float(rel)


@pytest.fixture
def attempt(capfd):
    """The demo, called with flags."""

    def attempt(*args: object) -> Tried:
        code = 0
        try:
            demo.run(lambda: demo.main([str(arg) for arg in args]))
        except SystemExit as end:
            code = end.code
        return Tried(code, *capfd.readouterr())

    return attempt


@pytest.fixture(scope="module")
def _segmented(_prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("segmented")
    shutil.copytree(_prepared, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder, SEGMENTATION)
        weights.main([SEG])
        export_onnx.main([SEG])
        mend.main([SEG])
    return folder


@pytest.fixture
def segmented(_segmented, tmp_path, monkeypatch) -> Path:
    """A prepared project with the weights and the ONNX file of a segmentation model, `random`; its
    own copy."""
    shutil.copytree(_segmented, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change_weights(name: str, change) -> None:
    """Write other weights than those that the ONNX file was made from."""
    state = torch.load(weights_path(name), weights_only=True)
    torch.save({key: change(key, value) for key, value in state.items()}, weights_path(name))


def next_class(key: str, value: torch.Tensor) -> torch.Tensor:
    """Let the head give each class's logit to the next one."""
    is_head = "classifier" in key and value.ndim and len(value) in (8, 10)
    return value.roll(1, dims=0) if is_head else value


def drawn() -> list[str]:
    """The files in the folder for the demo's pictures, those half-written too."""
    return sorted(path.name for path in Path("plots").rglob("*") if path.is_file())


def count_pixels(name: str, color, near: float = 0) -> int:
    """How many pixels of the demo's picture have a colour, RGB, or one as near in each channel."""
    picture = cv2.imread(f"plots/demo/{name}.png").astype(float)
    return int((abs(picture - np.array(color)[::-1]) <= near).all(axis=2).sum())


# Classification


def test_both_frameworks_print_the_five_best_classes_of_pytorch(converted, attempt):
    tried = attempt("classification", "--model", CLS, "--image", FIRST)
    assert tried.code == 0
    size = CropParams(**SMALL["preprocess"]["imagenet"]["size"])
    blob = normalize(resize_and_crop(read_image(Path(FIRST)), size)[None], MEAN, STD)
    network = load_network(weights_path(CLS), CLS, model_entry(), 10)
    logits = load_pytorch(network, ON_CPU)(blob)[0]
    percent = 100 * np.exp(logits) / np.exp(logits).sum()
    labels = (converted / "data/textures/classes.txt").read_text().splitlines()
    for part in tried.parts:
        rows = CLASS_ROW.findall(part)
        assert [int(row[0]) for row in rows] == np.argsort(-logits)[:5].tolist()
        for index, label, logit, share in rows:
            assert label == labels[int(index)]
            assert float(logit) == pytest.approx(logits[int(index)], abs=2e-4)
            assert float(share) == pytest.approx(percent[int(index)], abs=0.011)


def test_the_number_of_layers_is_opencvs_and_their_names_come_when_asked_for(converted, attempt):
    names = list(cv2.dnn.readNetFromONNX(str(mended_path(CLS))).getLayerNames())
    plain, verbose = attempt("classification"), attempt("classification", "--verbose")
    assert f": {len(names)} layers\npreprocessing " in plain.output
    assert f": {len(names)} layers\n" + "\n".join(names) + "\npreprocessing " in verbose.output


def test_the_shape_of_the_output_is_printed_for_both(converted, attempt):
    assert ["output (1, 10), " in part for part in attempt("classification").parts] == [True, True]


def test_that_both_agree_is_said_with_numbers(converted, attempt):
    tried = attempt("classification")
    assert tried.code == 0 and not tried.errors
    assert tried.verdict.startswith("agree: the same class, ")
    linf, rel = tried.apart
    assert 0 <= linf < 1e-4 and rel < 1e-4


def test_the_picture_has_bars_of_both_frameworks(converted, attempt):
    write_image(converted / "mine.png", noise(240, 320))
    tried = attempt("classification", "--image", "mine.png")
    assert tried.output.endswith(f"\npicture: plots/demo/{CLS}-mine.png\n")
    assert drawn() == [f"{CLS}-mine.png"]
    bars = [count_pixels(f"{CLS}-mine", color) for color in (OPENCV_BLUE, PYTORCH_ORANGE)]
    assert min(bars) > 100 and bars[0] == pytest.approx(bars[1], rel=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 999)])
def test_an_image_of_any_shape_is_answered_and_drawn(converted, attempt, shape):
    write_image(converted / "mine.png", noise(*shape))
    assert attempt("classification", "--image", "mine.png").code == 0
    assert drawn() == [f"{CLS}-mine.png"]


def test_the_first_model_of_the_task_and_the_first_val_image_are_the_default(converted, attempt):
    model = SMALL["models"][CLS]
    models = {SEG: SEGMENTATION[f"models.{SEG}"], CLS: model, "resnet18": model}
    write_params(converted, {"models": models})
    tried = attempt("classification", "--model", "", "--image", "")
    assert tried.code == 0
    assert tried.output.startswith(f"{CLS} on {FIRST} (378x304), blob (1, 3, 64, 64)\n")
    assert drawn() == [f"{CLS}-sample_val_00000001.png"]


def test_a_name_may_hold_spaces_and_letters_of_any_language(converted, attempt):
    image = write_image(converted / "-ä 松.png")
    assert attempt("classification", f"--image={image.name}").code == 0
    assert drawn() == [f"{CLS}--ä 松.png"]


@pytest.mark.parametrize(("exif", "size"), [("ignore", "90x60"), ("apply", "60x90")])
def test_the_picture_is_turned_as_the_model_says(converted, attempt, exif, size):
    model = onnx.load(mended_path(CLS))
    metadata = {one.key: one.value for one in model.metadata_props}
    profile = json.loads(metadata["preprocess"]) | {"exif": exif}
    onnx.helper.set_model_props(model, metadata | {"preprocess": json.dumps(profile)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "exported_file", lambda name, **_: nullcontext(Path("turned.onnx")))
        onnx.save(model, "turned.onnx")
        orientation = Image.Exif()
        orientation[0x0112] = 6
        Image.fromarray(noise(60, 90)).save("mine.png", exif=orientation)
        tried = attempt("classification", "--image", "mine.png")
    assert tried.output.startswith(f"{CLS} on mine.png ({size}), ")
    assert f"--exif {exif}\n" in tried.output


# Segmentation


def pytorch_mask(image: str) -> np.ndarray:
    network = load_network(weights_path(SEG), SEG, model_entry("segmentation"), 8)
    blob = normalize(read_image(Path(image))[None], MEAN, STD)
    return load_pytorch(network, ON_CPU)(blob)[0].argmax(axis=0)


def test_a_segmentation_answers_in_the_size_of_the_image(segmented, attempt):
    write_image(segmented / "mine.png", noise(366, 500))
    tried = attempt("segmentation", "--image", "mine.png")
    assert tried.code == 0
    assert tried.output.startswith(f"{SEG} on mine.png (500x366), blob (1, 3, 366, 500)\n")
    assert ["output (1, 8, 366, 500), " in part for part in tried.parts] == [True, True]
    assert tried.verdict.startswith("agree: the same class in ") and tried.apart[1] < 1e-4


@pytest.mark.parametrize("shape", [(366, 500), (40, 60)])
def test_the_printed_shares_are_those_of_both_masks_and_the_picture_shows_them(
    segmented, attempt, shape
):
    write_image(segmented / "mine.png", noise(*shape))
    tried = attempt("segmentation", "--image", "mine.png")
    mask = pytorch_mask("mine.png")
    for part in tried.parts:
        assert areas(part) == pytest.approx(areas_of(mask), abs=0.1)
    assert drawn() == [f"{SEG}-mine.png"]
    largest = np.bincount(mask.reshape(-1)).argmax()
    mixed = SEEN_THROUGH * 127.5 + (1 - SEEN_THROUGH) * voc_palette(8)[largest]  # over noise
    assert count_pixels(f"{SEG}-mine", mixed, near=25) > 5000 * (mask == largest).mean()


def areas(part: str) -> dict[int, float]:
    """The share of the pixels of each class, in percent, as it is printed."""
    return {int(index): float(share) for index, _, share in AREA_ROW.findall(part)}


def areas_of(mask: np.ndarray) -> dict[int, float]:
    ids, counts = np.unique(mask, return_counts=True)
    return dict(zip(ids.tolist(), 100 * counts / mask.size, strict=True))


def test_the_classes_found_are_named_the_largest_first(segmented, attempt):
    names = Path("data/preprocessed/voc/classes.txt").read_text().splitlines()
    for part in attempt("segmentation").parts:
        rows = AREA_ROW.findall(part)
        assert all(names[int(index)].startswith(name) for index, name, _ in rows)
        shares = [float(share) for *_, share in rows]
        assert shares == sorted(shares, reverse=True)


# Disagreement


def test_other_logits_of_the_same_class_differ_with_exit_code_1(converted, attempt):
    # The network ends with a ReLU and a mean: a head twice as large makes logits twice as large.
    change_weights(CLS, lambda key, value: 2 * value if "classifier" in key else value)
    tried = attempt("classification")
    assert tried.code == 1 and not tried.errors
    assert tried.verdict.startswith("differ: the same class, ")
    opencv, pytorch = (CLASS_ROW.findall(part) for part in tried.parts)
    assert float(pytorch[0][2]) == pytest.approx(2 * float(opencv[0][2]), abs=1e-3)
    linf, rel = tried.apart
    assert linf == pytest.approx(float(opencv[0][2]), rel=0.1) and rel == 0.5
    assert drawn() == [f"{CLS}-sample_val_00000001.png"]


def test_another_class_differs_with_exit_code_1(converted, attempt):
    change_weights(CLS, next_class)
    tried = attempt("classification")
    assert tried.code == 1
    assert tried.verdict.startswith("differ: another class, ")
    opencv, pytorch = (CLASS_ROW.findall(part)[0] for part in tried.parts)
    assert int(pytorch[0]) == (int(opencv[0]) + 1) % 10
    assert drawn() == [f"{CLS}-sample_val_00000001.png"]


def test_two_masks_that_differ_are_printed_and_the_pixels_that_differ_are_marked(
    segmented, attempt
):
    write_image(segmented / "mine.png", noise(366, 500))
    assert attempt("segmentation", "--image", "mine.png").verdict.startswith("agree: ")
    before = count_pixels(f"{SEG}-mine", DIFFERENT)
    change_weights(SEG, next_class)
    tried = attempt("segmentation", "--image", "mine.png")
    assert tried.code == 1
    assert tried.verdict.startswith("differ: the same class in ")
    assert min(tried.apart) > 1e-3
    opencv, pytorch = (areas(part) for part in tried.parts)
    assert pytorch == pytest.approx(areas_of(pytorch_mask("mine.png")), abs=0.0051)
    assert pytorch == pytest.approx({(index + 1) % 8: opencv[index] for index in opencv}, abs=0.1)
    assert count_pixels(f"{SEG}-mine", DIFFERENT) > before + 1000
    assert drawn() == [f"{SEG}-mine.png"]


# The gate's limits


def test_answers_agree_up_to_the_limits_of_the_gate(converted, attempt):
    change_weights(CLS, lambda key, value: 1.0005 * value if "classifier" in key else value)
    tried = attempt("classification")
    assert tried.code == 1
    assert tried.verdict.startswith("differ: the same class, ")
    assert " of the largest (rel 0.000" in tried.verdict
    assert tried.verdict.endswith(", limit 0.0001)")
    write_params(converted, {"gate.overrides": {CLS: {"rel": 1e-3}}})
    tried = attempt("classification")
    assert tried.code == 0 and tried.verdict.startswith("agree: ")


def answer(backend: str, output: list) -> Answer:
    return Answer(backend, np.float32(output), 1.0)


@pytest.mark.parametrize(
    ("opencv", "pytorch", "limits", "agree", "words"),
    [
        ([[1, 1.00001]], [[1.000005, 1]], LIMITS, True, "another class (100 % ties), logits"),
        (
            [[1, 2]],
            [[1.6, 1.5]],
            Limits(1.0, 99.9, 0.1),
            True,
            "another class (100 % ties), logits",
        ),
        ([[1, 2, 0]], [[2, 1, 9]], Limits(1e-4, 0.0, 0.1), False, "(rel 1, limit 0.0001)"),
        ([[0, 0]], [[0, 0]], LIMITS, True, "the same class, logits at most 0.0e+00 apart"),
        ([[0, 1]], [[0, 0]], LIMITS, False, "differ: "),
        ([[np.nan, 1]], [[np.nan, 1]], LIMITS, False, "differ: another class"),
        ([[1, 2, 3]], [[1, 2]], LIMITS, False, "outputs of shape (1, 3) and (1, 2)"),
    ],
)
def test_ties_count_as_the_same_class_within_the_limit_of_rel(
    opencv, pytorch, limits, agree, words
):
    outputs = answer("opencv", opencv), answer("pytorch", pytorch)
    verdict = demo.judge("classification", *outputs, limits)
    assert verdict[0] == agree and words in verdict[1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_never_agree(converted, attempt, value):
    change_weights(CLS, lambda key, tensor: tensor * value)
    export_onnx.main([CLS])
    mend.main([CLS])
    tried = attempt("classification")
    assert tried.code == 1
    assert tried.verdict.startswith("differ: ") and np.isnan(tried.apart).all()
    assert ": no answer: the output of " in tried.errors
    assert drawn() == [f"{CLS}-sample_val_00000001.png"]


def test_logits_that_are_all_zero_in_both_agree(converted, attempt):
    change_weights(CLS, lambda key, tensor: tensor * 0)
    export_onnx.main([CLS])
    mend.main([CLS])
    tried = attempt("classification")
    assert tried.code == 0
    assert tried.apart == (0, 0)


# Wrong input


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["segmentation", "--model", CLS], f"models.{CLS} is for classification: use `make class"),
        (["segmentation"], "params.yaml: models: found none for segmentation"),
        (
            ["classification", "--model", "resnet5"],
            f"models.resnet5: no such entry; there are {CLS}",
        ),
        (["classification", "--model=-h"], "models.-h: no such entry"),
        (["classification", "--image", "none.png"], "none.png: no such file"),
        (["classification", "--image", "data"], "data: not a file; expected an image"),
        (["classification", "--image", f"{'a' * 300}.png"], "a.png: file name too long"),
        (["classification", "--image", "params.yaml"], "params.yaml: not a"),
        (["classification", "--image", "empty.png"], "empty.png: the file is empty"),
        (["detection"], "'detection'"),
        (["classification", "photo.png"], "photo.png"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_input_ends_with_exit_code_2_and_one_line(converted, attempt, args, expected):
    (converted / "empty.png").touch()
    tried = attempt(*args)
    assert tried.code == 2 and not tried.output
    assert tried.errors.startswith("error: ") and tried.errors.count("\n") == 1
    assert expected in tried.errors
    assert not drawn()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"opencv.engine": "fast"}, "params.yaml: opencv.engine: found 'fast'"),
        ({"seed": MISSING}, "params.yaml: seed: missing"),
    ],
)
def test_wrong_params_end_with_exit_code_2_and_one_line(converted, attempt, changes, expected):
    write_params(converted, changes)
    tried = attempt("classification")
    assert tried.code == 2 and not tried.output
    assert tried.errors.startswith(f"error: {expected}") and tried.errors.count("\n") == 1


@pytest.mark.parametrize("path", [mended_path(CLS), weights_path(CLS)], ids=["onnx", "weights"])
def test_a_damaged_model_is_named_and_nothing_is_drawn(converted, attempt, path):
    path.write_bytes(path.read_bytes()[:100_000])
    tried = attempt("classification")
    assert tried.code == 2
    assert tried.errors.startswith(f"error: {path}: ") and tried.errors.count("\n") == 1
    assert not drawn()


def test_a_crash_of_opencv_is_named(converted, attempt, monkeypatch):
    script = converted / "crash.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(device, "RUN_ONNX", script)
    tried = attempt("classification")
    assert tried.code == 2 and not drawn()
    assert tried.errors == f"error: {mended_path(CLS)}: OpenCV's process was ended by SIGSEGV\n"


def test_an_image_of_the_dataset_that_is_gone_is_named(converted, attempt):
    Path(FIRST).unlink()
    tried = attempt("classification")
    assert tried.code == 2
    assert tried.errors == f"error: {FIRST}: no such file or directory\n"


def test_where_no_picture_can_be_written_the_one_before_stays(converted, attempt):
    (converted / "plots").mkdir()
    (converted / "plots/demo").write_text("no folder")
    tried = attempt("classification")
    assert tried.code == 2
    assert tried.errors.startswith("error: plots/demo") and tried.errors.count("\n") == 1
    assert (converted / "plots/demo").read_text() == "no folder"
    assert drawn() == ["demo"]


@pytest.mark.parametrize("kind", ["photo", "folder", "link", "dangling", "fifo", "text"])
def test_a_picture_replaces_only_one_of_its_own(converted, attempt, kind):
    image = write_image(converted / "mine.png")
    picture = Path(f"plots/demo/{CLS}-mine.png")
    for _ in range(2):
        assert attempt("classification", "--image", image).code == 0
    picture.unlink()
    make = {
        "photo": lambda: shutil.copy(FIRST, picture),
        "folder": picture.mkdir,
        "link": lambda: picture.symlink_to(image),
        "dangling": lambda: picture.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(picture),
        "text": lambda: picture.write_text("a text"),
    }
    make[kind]()
    before = picture.lstat().st_ino
    tried = attempt("classification", "--image", image)
    assert tried.code == 2 and not tried.output
    assert tried.errors.startswith(f"error: {picture}: cannot be written: it is ")
    assert tried.errors.count("\n") == 1 and picture.lstat().st_ino == before


def test_run_onnx_and_the_demo_replace_each_others_pictures(converted, attempt):
    picture = Path(f"plots/demo/{CLS}-mine.png")
    write_image(converted / "mine.png")
    for _ in range(2):
        run_onnx.main(["--model", str(mended_path(CLS)), "--input", "mine.png"])
        assert attempt("classification", "--image", "mine.png").code == 0
    assert run_onnx.is_own(picture)


def test_a_model_that_dvc_cannot_make_ends_with_exit_code_2(project, attempt):
    tried = attempt("classification")  # here is no repository of DVC's
    assert tried.code == 2 and not tried.output
    assert f"error: {CLS}: `dvc repro mend@{CLS} fetch@textures` failed" in tried.errors
    assert "Traceback" not in tried.errors


# Windows, but for those of test_windows.py


def test_without_a_display_a_line_says_so_and_where_the_picture_lies(
    converted, attempt, monkeypatch
):
    for variable in DISPLAYS:
        monkeypatch.delenv(variable, raising=False)
    tried = attempt("classification", "--show")
    assert tried.code == 0
    path = f"plots/demo/{CLS}-sample_val_00000001.png"
    assert tried.output.endswith(f"\npicture: {path} (there is no display to show it on)\n")
    assert drawn() == [Path(path).name]


# With DVC and make


@pytest.fixture
def clone(tmp_path) -> Path:
    """A copy of the repository in which nothing was made yet; its `make` installs nothing."""
    copy_working_tree(tmp_path)
    edit(tmp_path, SMALL_PIPELINE | {f"models.{CLS}.weights": "random"})
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    version = run(tmp_path, str(python), "--version").output
    requirements = (tmp_path / "requirements.txt").read_text()
    (tmp_path / ".venv/installed").write_text(f"{version}{tmp_path}\n{requirements}")
    return tmp_path


def make(root: Path, *args: str) -> Run:
    """Run make without a display, and without what a `make test` says to the ones below it."""
    hidden = [f"-u{name}" for name in (*DISPLAYS, "MAKEFLAGS", "MAKELEVEL")]
    return run(root, "env", *hidden, "make", "PYTHON=false", *args, ok=False)


SHELL_READS = 'it\'s `touch 1` $(touch 2) $(shell touch 3); touch 4 & "#" $HOME $$ \\ *'


@pytest.mark.pipeline
def test_a_missing_model_is_made_and_tried_on_an_image_of_any_name(clone):
    name = f"-{SHELL_READS}.png"
    write_image(clone / name, noise(60, 80))
    before = {path.name for path in clone.iterdir()}
    done = make(clone, "classify", f"MODEL={CLS}", f"IMAGE={name}", "VERBOSE=1", "SHOW=1")
    assert done.code == 0, done.output
    assert f"not there yet, making it: dvc repro mend@{CLS}\n" in done.output
    assert done.stages[-1] == f"mend@{CLS}"
    assert "\ntrlayout.0\n" in done.output
    path = clone / f"plots/demo/{CLS}-{Path(name).stem}.png"
    assert f"picture: {path.relative_to(clone)} (there is no display" in done.output
    assert "mended.onnx: " not in done.output
    assert [path] == [*path.parent.iterdir()]
    made = {path.name for path in clone.iterdir()} - before
    assert made <= {"data", "models", "plots", "dvc.lock"}

    edit(clone, {"export.opset": 17})
    done = make(clone, "classify", f"MODEL={CLS}", f"IMAGE={name}")
    assert done.code == 0, done.output
    (line,) = re.findall(rf"^{mended_path(CLS)}: (.*)$", done.output, re.MULTILINE)
    assert "params.yaml" in line and "`make`" in line


@pytest.mark.pipeline
@pytest.mark.parametrize("target", ["segment", "locate"])
def test_a_model_of_any_name_is_no_command(clone, target):
    before = {path.name for path in clone.iterdir()}
    done = make(clone, target, f"MODEL={SHELL_READS}")
    assert done.code
    assert f"error: params.yaml: models.{SHELL_READS}: no such entry" in done.output
    assert {path.name for path in clone.iterdir()} == before


@pytest.mark.pipeline
@pytest.mark.parametrize("flag", ["VERBOSE", "SHOW"])
def test_a_flag_is_set_by_any_value_but_0(clone, flag):
    for value, is_set in ((1, True), (0, False), ("", False)):
        recipe = make(clone, "--dry-run", "classify", f"{flag}={value}").output
        assert (f" --{flag.lower()}" in recipe) == is_set


@pytest.mark.pipeline
def test_ctrl_c_lets_dvc_end_by_itself(clone):
    """Whatever its stage still has to do."""
    slow = """
import signal, sys, time
from pathlib import Path

def end(*_):
    time.sleep(1)
    Path("ended").touch()
    sys.exit(130)

signal.signal(signal.SIGINT, end)
Path("began").touch()
time.sleep(60)
"""
    (clone / "stages/fingerprints.py").write_text(slow)
    command = [sys.executable, "-m", "tools.demo", "classification", "--model", CLS]
    with (clone / "errors").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=clone, env=ENVIRONMENT, stderr=errors, start_new_session=True
        )
    deadline = time.monotonic() + 60
    while not (clone / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert (clone / "ended").exists()
    assert (clone / "errors").read_text().endswith("interrupted\n")


# Real weights and a real image


@needs_real
@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"{PUBLISHED} is not there")
def test_the_published_resnet50_knows_a_fox_squirrel(project, attempt):
    real = {"source": str(REAL / "imagenet"), "train": "none", "classes": "imagenet", "limit": 2}
    size = {"resize": 256, "keep_aspect": False, "crop": 224, "interpolation": "linear"}
    model = {"task": "classification", "preprocess": "imagenet", "weights": "IMAGENET1K_V1"}
    changes = {f"datasets.textures.{key}": value for key, value in real.items()}
    changes |= {"preprocess.imagenet.size": size, "models": {"resnet50": model}}
    write_params(project, changes)
    fetch.main(["textures"])
    transform.main(["imagenet"])
    preprocess.main(["imagenet"])
    weights.main(["resnet50"])
    export_onnx.main(["resnet50"])
    mend.main(["resnet50"])
    class_id, image = FOX_SQUIRREL
    tried = attempt("classification", "--image", image)
    assert tried.code == 0, tried.output
    opencv, pytorch = (CLASS_ROW.findall(part)[0] for part in tried.parts)
    assert opencv[:2] == pytorch[:2]
    assert float(opencv[2]) == pytest.approx(float(pytorch[2]), rel=1e-3)
    assert float(opencv[3]) == pytest.approx(float(pytorch[3]), abs=0.1)
    assert drawn() == [f"resnet50-{image.stem}.png"]
    assert int(opencv[0]) == class_id
