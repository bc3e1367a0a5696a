"""tools/cpp/run_onnx.cpp does what run_onnx.py does, whatever OpenCV it is built with."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers.bundles import change_weight, edit_json, tiny_content
from helpers.cpp_runner import Runners, same
from helpers.images import encoded, noise, write_image
from helpers.preprocessing_table import forms, write_table
from helpers.standalone import preprocessing, write_model

from parity.bundle.write import write_bundle, write_sums
from tools import run_onnx

pytestmark = pytest.mark.process

BASE = ["--model", "model.onnx", "--input", "image.png", "--output", "out"]


@pytest.fixture
def runners(cpp_programs, capfd) -> Runners:
    return Runners(cpp_programs / "run_onnx/run_onnx", capfd)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds image.png, photo.jpg and two models."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png", noise(60, 90))
    smooth = cv2.resize(noise(6, 9), (300, 200), interpolation=cv2.INTER_CUBIC)
    Path("photo.jpg").write_bytes(encoded(smooth, "JPEG", quality=90))
    classes = {"classes": json.dumps(["nothing", "rød", 'a "b" \\ c', "\U0001f600"])}
    write_model("model.onnx", "classification", metadata={"model": "tiny"} | classes)
    write_model("masks.onnx", "segmentation")
    return tmp_path


# From an image to the blob


def test_every_blob_is_run_onnx_pys_to_the_bit(cpp_programs, tmp_path, monkeypatch):
    """All of the table, in any version of OpenCV, as long as none of them leaves it to Intel's IPP:
    that rounds a cubic resize in its own way."""
    monkeypatch.chdir(tmp_path)
    uses_ipp = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        table = json.loads(write_table(tmp_path).read_text())
    finally:
        cv2.ipp.setUseIPP(uses_ipp)
    found = subprocess.run(
        [str(cpp_programs / "blobs"), "."], capture_output=True, text=True, check=True
    )
    rows = [line.split("\t") for line in found.stdout.splitlines()]
    expected = [
        [form["form"], image, blob["sha256"]]
        for form in table["forms"]
        for image, blob in form["blobs"].items()
    ]
    assert len(expected) > 700
    assert [row for row in rows if len(row) == 3] == expected
    flags = {form.name: preprocessing(task=form.task, metadata=form.metadata()) for form in forms()}
    printed = [row for row in rows if len(row) == 2]
    assert printed == [[name, how.flags()] for name, how in flags.items()]


@pytest.mark.parametrize(
    "flags",
    [
        "--mean 127 1/3 0.1e3 --std 1e-3 1/255 0.26862954",
        "--mean 122.7709383 116.7460125 104.09373615000001 --std .5 1. 00.25 --scale 0.0078125",
        "--mean 0 255 1e-300 --std 3 1000000000 0.3333333333333333 --scale 0.00392156862745098",
        "--mean -1 +2 100000.5 --std 0.1234567890123456789 1 1 --scale 0.017",
        "--no-rgb --exif apply --interpolation area --antialias --no-crop --height 31 --width 7",
        "--resize 70 --keep-aspect --height 64 --width 48 --interpolation nearest",
        "--rsz-height 100 --rsz-width=33 --height 0 --width 0",
        "--resize 0 --no-keep-aspect --crop --height 20 --width 30",
    ],
)
def test_flags_make_the_same_blob_and_are_printed_alike(here, runners, flags):
    cpp = runners.cpp(*BASE, *flags.split(), "--save", "cpp")
    python = runners.python(*BASE, *flags.split(), "--save", "python.npz")
    assert (cpp.code, cpp.errors) == (python.code, python.errors) == (0, "")
    assert same(cpp.output) == same(python.output)
    with np.load("python.npz") as arrays:
        for name in ("blob", "output"):
            found = np.load(f"cpp.{name}.npy")
            assert (found.dtype, found.shape) == (np.float32, arrays[name].shape)
            if name == "blob":
                assert found.tobytes() == arrays[name].tobytes()
            np.testing.assert_allclose(found, arrays[name], rtol=1e-3, atol=1e-3)


# From a blob to the answer


@pytest.mark.parametrize("model", ["model.onnx", "masks.onnx"])
@pytest.mark.parametrize("source", ["image.png", "photo.jpg", "."])
def test_the_answer_is_printed_alike_and_drawn(here, runners, model, source):
    flags = ["--model", model, "--input", source, "--output", "out"]
    if source == ".":
        shutil.copy("photo.jpg", "image.jpg")  # two names with one stem
    cpp, python = runners.both(*flags)  # each replaces the other's pictures
    assert (cpp.code, cpp.errors) == (python.code, python.errors) == (0, "")
    assert same(cpp.output) == same(python.output)
    pictures = sorted(Path("out").iterdir())
    assert len(pictures) == cpp.output.count("picture: ") == (3 if source == "." else 1)
    again = runners.cpp(*flags)
    assert again.code == 0
    for picture in pictures:
        assert run_onnx.is_own(picture)
        assert min(cv2.imread(str(picture)).shape[:2]) >= run_onnx.MIN_HEIGHT


def test_class_names_and_colours_come_from_a_file(here, runners):
    Path("names.txt").write_bytes(
        "\ufeffno thing 0 0 0\nred 255 0 0\nø 0 9 0\nblue 0 0 255\n".encode()
    )
    for model in ("model.onnx", "masks.onnx"):
        cpp, python = runners.both(*BASE, "--model", model, "--classes", "names.txt")
        assert (cpp.code, cpp.errors) == (0, "")
        assert same(cpp.output) == same(python.output)


def test_a_model_of_several_outputs_answers_with_the_one_that_is_named(here, runners):
    model = onnx.load("model.onnx")
    model.graph.output.append(onnx.helper.make_tensor_value_info("means", 1, [1, 3, 1, 1]))
    onnx.save(model, "model.onnx")
    for flags in ([], ["--output-name", "logits"]):
        cpp, python = runners.both(*BASE, *flags)
        assert (cpp.code, cpp.errors) == (0, "")
        assert same(cpp.output) == same(python.output)


def test_no_answer_is_exit_code_1(here, runners):
    write_model("model.onnx", "classification", [[np.nan] * 3] * 4)
    done = runners.cpp(*BASE)
    assert done.code == 1
    assert re.fullmatch(
        "error: image: no answer: the output of model.onnx holds (NaN|infinity)\n", done.errors
    )


def test_a_video_becomes_a_video_or_is_refused_in_one_line(here, runners):
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for seed in range(3):
        writer.write(noise(32, 32, seed))
    writer.release()
    cpp = runners.cpp("--model", "masks.onnx", "--input", "clip.avi", "--output", "out")
    if "without videoio" in cpp.errors:
        assert cpp.code == 2 and cpp.errors.count("\n") == 1
        return
    assert (cpp.code, cpp.errors) == (0, "")
    assert len(re.findall(r"^frame \d: class \d", cpp.output, re.MULTILINE)) == 3
    assert run_onnx.is_own(Path("out/masks-clip.avi"))
    assert cv2.VideoCapture("out/masks-clip.avi").get(cv2.CAP_PROP_FRAME_COUNT) == 3


# Wrong input


def write_wrong_files() -> None:
    """Write files that are not what their name says."""
    photo, model = Path("photo.jpg").read_bytes(), Path("model.onnx").read_bytes()
    progressive = encoded(noise(60, 90), "JPEG", progressive=True)
    middle = len(photo) // 2
    files = {
        "empty.png": b"",
        "text.png": b"text",
        "cut.jpg": photo[:-900],
        "scan.jpg": progressive[: progressive.rindex(b"\xff\xda")] + b"\xff\xd9",
        "damaged.jpg": photo[:middle] + b"\xff\xc4\x00\x10" * 9 + photo[middle + 36 :],
        "cut.png": Path("image.png").read_bytes()[:-30],
        "cut.onnx": model[:-20],
        "text.onnx": b"text",
        "short.onnx": model.replace(np.float32(1).tobytes(), b"", 1),
        "blank.txt": b"a\n\nb\n",
        "latin.txt": b"\xe9\n",
        "three.txt": b"a\nb\nc\n",
    }
    for name, content in files.items():
        Path(name).write_bytes(content)
    Path("folder").mkdir()


@pytest.mark.parametrize(
    "flags",
    [
        *(f"--input {name}" for name in ("no.png", "empty.png", "text.png", "cut.jpg", "scan.jpg")),
        *(f"--input {name}" for name in ("damaged.jpg", "cut.png", "folder", "model.onnx/a")),
        *(f"--model {name}" for name in ("no.onnx", "cut.onnx", "folder")),
        *(f"--classes {name}" for name in ("no.txt", "blank.txt", "latin.txt", "three.txt")),
        "--task segmentation",
        "--engine steam",
        "--backend steam",
        "--target cuda",
        "--threads 9999",
        "--height 20",
        "--height 70000 --width 1",
        "--crop --resize 20 --height 30 --width 30",
        "--resize 7 --rsz-width 9",
        "--output-name no",
        "--show --save a",
        "--resize 32767 --height 0 --width 0",
        "--report a.json",
        "--verify",
    ],
)
def test_wrong_input_is_refused_in_the_same_line(here, runners, flags):
    write_wrong_files()
    cpp, python = runners.both(*BASE, *flags.split())
    assert (cpp.code, python.code) == (2, 2)
    assert re.sub(r"OpenCV \d[\d.]*( has.*)?", "", cpp.errors) == re.sub(
        r"OpenCV \d[\d.]*( has.*)?", "", python.errors
    )


@pytest.mark.parametrize(
    "flags",
    ["--steam", "--input", "--mean 1 2", "--scale 0", "--scale 1/0", "--std 1 a 1", "--exif turn",
     "--verbose=1", "--height 1.5", "--model=", "--model text.onnx", "--model short.onnx"],
)  # fmt: skip
def test_other_wrong_input_is_refused_in_one_line(here, runners, flags):
    write_wrong_files()
    done = runners.cpp(*BASE, *flags.split())
    assert (done.code, done.output) == (2, "")
    assert done.errors.startswith("error: ") and done.errors.count("\n") == 1


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/../../secret", "", "."])
def test_tensors_outside_of_the_models_folder_are_refused(here, runners, location):
    (here / "../secret").write_bytes(bytes(48))
    model = onnx.load("model.onnx")
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location or ".")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    Path("model.onnx").write_bytes(model.SerializeToString())
    cpp, python = runners.both(*BASE)
    assert (cpp.code, python.code) == (2, 2)
    assert "external data: found location" in cpp.errors and cpp.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "target"), [([], "out/tiny-image.png"), (["--save", "one"], "one.blob.npy")]
)
def test_only_what_a_runner_wrote_is_replaced(here, runners, flags, target):
    assert runners.cpp(*BASE, *flags).code == 0
    assert runners.cpp(*BASE, *flags).code == 0
    Path(target).write_bytes(b"mine")
    done = runners.cpp(*BASE, *flags)
    assert done.code == 2 and "this tool did not write it" in done.errors
    assert Path(target).read_bytes() == b"mine"
    assert not list(here.rglob("*.partial*"))


# The verification of a bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a bundle for each task."""
    root = tmp_path_factory.mktemp("made")
    for task in ("classification", "segmentation"):
        write_bundle(root / task, tiny_content(root / f"of-{task}", task), force=False)
    return root


@pytest.fixture
def bundle(made, tmp_path, monkeypatch) -> Path:
    """A bundle of a classification, to change; the current folder is another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return Path(shutil.copytree(made / "classification", tmp_path / "bundle"))


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_bundle_verifies_itself(made, runners, tmp_path, task):
    report = {}
    for runner in (runners.cpp, runners.python):
        path = tmp_path / f"{runner.__name__}.json"
        done = runner("--verify", "--bundle", made / task, "--report", path, "--threads", 1)
        assert (done.code, done.errors) == (0, "")
        assert done.output.endswith("verify: pass\n")
        report[runner.__name__] = json.loads(path.read_text())
    cpp, python = report["cpp"], report["python"]
    assert (cpp.pop("runner"), python.pop("runner")) == ("c++", "python")
    assert cpp.keys() == python.keys() and cpp["environment"].keys() == python["environment"].keys()
    for name in ("machine", "processor", "threads", "asked", "backend", "target"):
        assert cpp["environment"][name] == python["environment"][name]
    assert list(cpp["steps"]) == list(python["steps"])
    for name, step in cpp["steps"].items():
        assert step["result"] == "pass" and step.keys() == python["steps"][name].keys()
        for key in ("rel", "levels"):
            limit = {"rel": 1e-5, "levels": 1}[key]
            assert step.get(key, 0) <= limit


def test_it_verifies_the_folder_in_which_it_runs(bundle, runners, monkeypatch):
    monkeypatch.chdir(bundle)
    assert runners.cpp("--verify").output.endswith("verify: pass\n")


def negative(bundle: Path) -> None:
    image = 255 - cv2.imread(str(bundle / "pixels/photo_1.png"))[..., ::-1]
    (bundle / "images/photo_1.JPEG").write_bytes(encoded(image, "JPEG"))
    write_sums(bundle)


def other_pixel(bundle: Path) -> None:
    path = bundle / "pixels/photo_1.png"
    image = cv2.imread(str(path))
    image[30, 45] ^= 255
    cv2.imwrite(str(path), image)


def tight(bundle: Path) -> None:
    edit_json(bundle / "verify.json", lambda content: content["limits"].update(rel=1e-12))
    logits = np.load(bundle / "logits/photo_0.npy")
    np.save(bundle / "logits/photo_0.npy", logits * np.float32(1 + 1e-6))


CHANGES = {
    "weight": lambda bundle: change_weight(bundle / "model.onnx"),
    "photo": negative,
    "pixel": other_pixel,
    "limit": tight,
    "no image": lambda bundle: (bundle / "images/photo_0.JPEG").unlink(),
    "no blob": lambda bundle: (bundle / "blobs/photo_0.npy").unlink(),
    "no array": lambda bundle: (bundle / "blobs/photo_0.npy").write_bytes(b"none"),
    "no model": lambda bundle: (bundle / "model.onnx").unlink(),
    "labels": lambda bundle: (bundle / "labels.txt").write_text("other\n"),
    "empty sums": lambda bundle: (bundle / "SHA256SUMS").write_text(""),
    "NaN": lambda bundle: np.save(
        bundle / "logits/photo_0.npy", np.full((1, 4), np.nan, np.float32)
    ),
    "no sums": lambda bundle: (bundle / "SHA256SUMS").unlink(),
    "sums": lambda bundle: (bundle / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n"),
    "shape": lambda bundle: np.save(
        bundle / "logits/photo_0.npy", np.zeros((1, 5), np.float32)
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_on_the_way_fails_the_same_steps(bundle, runners, change):
    CHANGES[change](bundle)
    cpp, python = runners.both("--verify", "--bundle", bundle, "--threads", 1)
    assert (cpp.code, cpp.errors) == (python.code, python.errors) == (1, "")
    results = [
        re.findall(r"^\w+: (?:pass|fail|skipped)", one.output, re.M) for one in (cpp, python)
    ]
    assert results[0] == results[1] and len(results[0]) == 6
    assert cpp.output.splitlines()[-1] == python.output.splitlines()[-1]
    for line in ("files", "network"):  # the same words, where figures do not differ
        texts = [re.search(rf"^{line}: fail: (.*)", one.output, re.M) for one in (cpp, python)]
        if texts[0] and "rel" not in texts[0][1] and "not an .npy" not in texts[1][1]:
            assert texts[0][1] == texts[1][1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("verify.json", None),
        ("verify.json", b"{"),
        ("verify.json", b"[]"),
        ("verify.json", b'{"format": 2}'),
        ("verify.json", b'{"format": 1}'),
        ("preprocessing.json", None),
        ("preprocessing.json", b"{}"),
        ("preprocessing.json", b'{"task": "classification", "flags": "--resize big"}'),
        ("out.json", b'{"mine": 1}'),
    ],
)
def test_what_is_no_bundle_is_refused_in_one_line(bundle, runners, name, content):
    path = Path(name) if name == "out.json" else bundle / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    cpp, python = runners.both("--verify", "--bundle", bundle, "--report", "out.json")
    assert cpp.code == python.code == 2
    assert (cpp.output, cpp.errors.count("\n")) == ("", 1)
    assert re.search(r"\w+\.json|--resize", cpp.errors)[0] in python.errors


def test_a_model_that_this_opencv_cannot_read_is_no_failure_of_the_bundle(bundle, runners):
    content = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(content.replace(b"GlobalAveragePool", b"GlobalAverageQool"))
    write_sums(bundle)
    cpp, python = runners.both("--verify", "--bundle", bundle)
    for done in (cpp, python):
        assert done.code == 2 and done.errors.count("\n") == 1
        expected = (
            rf"error: OpenCV [\d.]+ cannot run this model, proven with OpenCV {cv2.__version__}"
        )
        assert re.match(expected, done.errors)
        assert "model.onnx: OpenCV cannot read it as an ONNX model" in done.errors


def test_a_forced_bundle_says_first_that_it_did_not_pass(bundle, runners):
    change = {"forced": 1, "verdict": "FAIL: OpenCV is wrong"}
    edit_json(bundle / "verify.json", lambda content: content.update(change))
    write_sums(bundle)
    done = runners.cpp("--verify", "--bundle", bundle)
    assert (done.code, done.errors) == (0, "")
    assert done.output.startswith("this model did not pass: FAIL: OpenCV is wrong\n")


def test_the_help_names_every_flag_of_run_onnx_py(runners):
    known = re.findall(r"^  (--[\w-]+)", runners.cpp("--help").output, re.MULTILINE)
    python = set(re.findall(r"^  (?:-h, )?(--[\w-]+)", runners.python("--help").output, re.M))
    assert set(known) == python
