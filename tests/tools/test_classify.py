"""run_onnx.py, and what it shares with segment.py."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.backends import ON_CPU, unavailable_target
from helpers.images import noise, write_image
from helpers.params import MEAN, STD, changed, model_entry
from helpers.standalone import (
    BASE,
    COLORS,
    FRAMES,
    HALVES,
    SCRIPTS,
    call,
    how_of,
    path_of,
    printed,
    process,
    read_video,
    refusal,
    table,
    tutorial,
    value_of,
    write_model,
    write_video,
)

from parity.backends.pytorch import load_pytorch
from parity.core.paths import onnx_path, weights_path
from parity.networks.network import load_network
from tools import run_onnx as classify
from tools import segment

SHARED = "# From here on run_onnx.py and segment.py are the same"
TO_48 = {"size": {"resize": 64, "crop": 48}}
SEVEN = np.random.default_rng(7).normal(size=(7, 3)).tolist()
ROW = re.compile(r" *(\d+)  (.+?) +(-?\d+\.\d{4}) +(\d+\.\d\d) %")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds image.png and model.onnx, a classification of 7 classes."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png", noise(60, 90))
    write_model("model.onnx", "classification", SEVEN)
    return tmp_path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """The Python of an environment that has OpenCV, NumPy and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    installed = Path(cv2.__file__).parents[1]
    for there in (installed / "cv2", installed / "numpy", *installed.glob("opencv_python*.libs")):
        (packages / there.name).symlink_to(there)
    (packages / "numpy.libs").symlink_to(installed / "numpy.libs")
    return folder / "bin/python"


def test_both_scripts_share_one_block():
    texts = [path_of(script).read_text() for script in (classify, segment)]
    assert all(text.count(SHARED) == 1 for text in texts), f"the line {SHARED!r} is gone"
    mine, other = (text.partition(SHARED)[2] for text in texts)
    if mine != other:
        pytest.fail(
            f"tools/run_onnx.py and tools/segment.py differ below the line {SHARED!r}:"
            " copy all that follows it from the one you changed to the other"
        )


@pytest.mark.parametrize("task", SCRIPTS)
def test_a_script_imports_neither_torch_nor_this_project(here, task):
    write_model("model.onnx", task)
    code = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print({"torch", "torchvision", "stages"} & {name.split(".")[0] for name in sys.modules})
"""
    ended = process("-c", code, path_of(SCRIPTS[task]), *BASE)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "set()"


def test_the_bare_environment_has_opencv_and_numpy_alone(bare_python):
    names = ("cv2", "numpy", "onnx", "yaml", "torch", "stages", "pip")
    code = f"from importlib.util import find_spec; print([n for n in {names} if find_spec(n)])"
    assert process("-I", "-c", code, python=bare_python).stdout == "['cv2', 'numpy']\n"


def alone(task: str, bare_python: Path, *args: object) -> subprocess.CompletedProcess:
    """Copy a script, and nothing else of the project, here; run it in the bare environment."""
    script = shutil.copy(path_of(SCRIPTS[task]), Path.cwd())
    return process("-I", script, *args, python=bare_python)


@pytest.mark.parametrize("task", SCRIPTS)
def test_a_script_copied_alone_answers_as_in_the_full_environment(here, bare_python, task):
    names = ["nothing", "red", "green", "blue"]
    metadata = {"preprocess": json.dumps(HALVES | TO_48), "classes": json.dumps(names)}
    write_model("model.onnx", task, metadata={"task": task} | metadata)
    full = process(path_of(SCRIPTS[task]), *BASE)
    source, flags = printed(full.stdout)
    assert source == "metadata of model.onnx"

    Path("names.txt").write_text("\n".join(names))
    Path("params.yaml").write_text("not: [read")
    ended = alone(task, bare_python, *BASE, *flags, "--classes", "names.txt")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert table(ended.stdout) == table(full.stdout)
    assert "red" in ended.stdout


def test_a_network_copied_alone_answers_as_pytorch_does(converted, bare_python):
    write_image(converted / "image.png", noise(100, 80))
    path = onnx_path("squeezenet1_1")
    shutil.copy(path, "model.onnx")
    full = process(path_of(classify), *BASE)
    source, flags = printed(full.stdout)
    assert source == "metadata of model.onnx"
    Path("names.txt").write_text("\n".join(json.loads(classify.read_model(path)[0]["classes"])))
    ended = alone("classification", bare_python, *BASE, *flags, "--classes", "names.txt")
    assert table(ended.stdout) == table(full.stdout)

    network = load_network(weights_path("squeezenet1_1"), "squeezenet1_1", model_entry(), 10)
    blob = classify.blob_of(cv2.imread("image.png"), how_of(classify, *flags))
    logits = load_pytorch(network, ON_CPU)(blob)[0]
    found = {int(row[0]): float(row[2]) for row in ROW.findall(ended.stdout)}
    assert list(found) == np.argsort(-logits)[:5].tolist()
    np.testing.assert_allclose(list(found.values()), logits[list(found)], atol=1e-4)


@pytest.mark.parametrize("shape", [(256, 256), (60, 90), (500, 333), (224, 700)])
@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ("", {}),
        ("--no-rgb", {"rgb": False}),
        ("--no-crop", {"crop": False}),
        ("--no-crop --height 100 --width 150", {"size": (150, 100), "crop": False}),
        ("--height 100 --width 150", {"size": (150, 100)}),
        ("--rsz-height 0 --rsz-width 0", {"resize": None}),
        (
            "--rsz-height 0 --rsz-width 0 --height 64 --width 200 --no-rgb --no-crop",
            {"resize": None, "size": (200, 64), "rgb": False, "crop": False},
        ),
        (
            "--rsz-height 70 --rsz-width 300 --height 0 --width 0",
            {"resize": (300, 70), "size": None},
        ),
        (
            "--scale 0.01 --mean 1 2 3 --std 4 5 6 --no-rgb",
            {"scale": 0.01, "mean": (1, 2, 3), "std": (4, 5, 6), "rgb": False},
        ),
    ],
)
def test_the_blob_is_that_of_the_tutorials_three_steps(shape, flags, steps):
    image = noise(*shape)
    blob = classify.blob_of(image, how_of(classify, *flags.split()))
    expected = tutorial(image, **{"resize": (256, 256), "size": (224, 224), "crop": True} | steps)
    assert blob.shape == expected.shape and blob.dtype == np.float32
    np.testing.assert_allclose(blob, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--no-rgb --no-crop --height 31 --width 57",
        "--scale 0.0123456789 --mean 122.7717 115.9465 102.9801 --std 0.2686295 0.26130258 0.3",
        "--scale 1 --mean -1 -0.5 1e-3 --std 1 1 1 --rsz-height 0 --rsz-width 0",
    ],
)
def test_the_printed_flags_give_the_same_blob(here, capsys, flags):
    how = how_of(classify, *flags.split())
    _, again = printed(call(classify, capsys, *flags.split()))
    image = noise(60, 90)
    blobs = [classify.blob_of(image, each) for each in (how, how_of(classify, *again))]
    np.testing.assert_allclose(*blobs, rtol=1e-6, atol=1e-6)
    assert printed(call(classify, capsys, *again))[1] == again


@pytest.mark.parametrize("task", SCRIPTS)
def test_a_flag_goes_before_metadata_before_params_before_imagenets_constants(here, capsys, task):
    script = SCRIPTS[task]
    write_model("model.onnx", task)
    source, flags = printed(call(script, capsys))
    assert source == "ImageNet's constants"
    assert value_of("--mean", flags, 3) == [123.675, 116.28, 103.53]
    assert value_of("--std", flags, 3) == STD

    profile = {"mean": [0.2, 0.2, 0.2], "std": STD, "task": task, "size": "own"}
    other = profile | {"task": "another"}
    Path("params.yaml").write_text(json.dumps({"preprocess": {"b": other, "a": profile}}))
    source, flags = printed(call(script, capsys))
    assert source == "params.yaml: preprocess.a"
    assert value_of("--mean", flags, 3) == [51, 51, 51]
    assert value_of("--height", flags) == [0]

    profile = json.dumps(HALVES | TO_48 | {"color": "BGR", "scale": 1 / 255})
    write_model("model.onnx", task, metadata={"preprocess": profile})
    source, flags = printed(call(script, capsys))
    assert source == "metadata of model.onnx"
    assert value_of("--mean", flags, 3) == [127.5, 127.5, 127.5]
    assert [value_of(side, flags) for side in ("--rsz-width", "--width")] == [[64], [48]]
    assert "--no-rgb" in flags

    given = ["--mean", "1", "2", "3", "--rgb", "--height", "40", "--width", "44"]
    source, flags = printed(call(script, capsys, *given))
    assert source == "flags, then metadata of model.onnx"
    assert value_of("--mean", flags, 3) == [1, 2, 3]
    assert value_of("--std", flags, 3) == HALVES["std"]
    assert [value_of(side, flags) for side in ("--rsz-width", "--height")] == [[64], [40]]
    assert "--rgb" in flags


def test_params_may_name_the_profile_of_a_model(here, capsys):
    profile = {"task": "classification", "size": "own"} | HALVES
    params = {"preprocess": {"first": profile, "second": profile}}
    params["models"] = {"mine": {"preprocess": "second"}}
    Path("params.yaml").write_text(json.dumps(params))
    Path("mine").mkdir()
    shutil.copy("model.onnx", "mine")
    assert printed(call(classify, capsys))[0] == "params.yaml: preprocess.first"
    output = call(classify, capsys, "--model", "mine/model.onnx")
    assert printed(output)[0] == "params.yaml: preprocess.second"


def test_the_parameters_of_the_pipeline_are_understood(here, capsys):
    Path("params.yaml").write_text(json.dumps(changed({"opencv.engine": "classic"})))
    output = call(classify, capsys)
    source, flags = printed(output)
    assert source == "params.yaml: preprocess.imagenet"
    np.testing.assert_allclose(value_of("--mean", flags, 3), np.multiply(MEAN, 255))
    assert [value_of(side, flags) for side in ("--rsz-height", "--height")] == [[72], [64]]
    assert "engine classic, backend default, target cpu" in output
    assert "engine new," in call(classify, capsys, "--engine", "new")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"resize": 40, "keep_aspect": True, "crop": 32, "interpolation": "cubic"}, True),
        ({"resize": 40, "keep_aspect": False, "crop": 32, "interpolation": "linear"}, False),
    ],
)
def test_what_flags_cannot_say_of_the_models_preprocessing_is_said(here, capsys, size, said):
    profile = {"mean": [0.5] * 3, "std": [0.5] * 3, "size": size}
    metadata = {"preprocess": json.dumps(profile)}
    write_model("model.onnx", "classification", metadata=metadata)
    output = call(classify, capsys)
    note = ", but interpolation cubic, resize 40: flags have no word for it)"
    assert (note in output) == said
    assert value_of("--rsz-height", printed(output)[1]) == [0 if size["keep_aspect"] else 40]


def test_metadata_of_another_program_are_no_preprocessing(here, capsys):
    for foreign in ("center crop", "[1, 2]", json.dumps({"std": [1, 1, 1]})):
        write_model("model.onnx", "classification", metadata={"preprocess": foreign})
        assert printed(call(classify, capsys))[0] == "ImageNet's constants"


def test_an_input_of_fixed_size_decides_where_nothing_else_fits(here, capsys):
    sides = ("--rsz-height", "--rsz-width", "--height", "--width")
    write_model("model.onnx", "classification", SEVEN, shape=(1, 3, 48, 64))
    flags = printed(call(classify, capsys))[1]
    assert [value_of(side, flags) for side in sides] == [[0], [0], [48], [64]]
    metadata = {"preprocess": json.dumps(HALVES | TO_48)}
    write_model("model.onnx", "classification", SEVEN, (1, 3, 48, 48), metadata=metadata)
    flags = printed(call(classify, capsys))[1]
    assert [value_of(side, flags) for side in sides] == [[64], [64], [48], [48]]


def test_the_best_five_classes_are_printed_with_id_label_logit_and_softmax(here, capsys):
    Path("names.txt").write_text("tench\ngreat white shark\nhen\nkite\nvulture\naxolotl\nnewt\n\n")
    output = call(classify, capsys, "--classes", "names.txt")
    blob = tutorial(cv2.imread("image.png"), (256, 256), (224, 224), crop=True)
    logits = np.array(SEVEN) @ blob.mean(axis=(0, 2, 3))
    softmax = 100 * np.exp(logits) / np.exp(logits).sum()
    best = np.argsort(-logits)[:5]
    ids, labels, *numbers = zip(*ROW.findall(output), strict=True)
    assert [int(index) for index in ids] == best.tolist()
    assert list(labels) == np.array(Path("names.txt").read_text().split("\n"))[best].tolist()
    np.testing.assert_allclose(np.array(numbers[0], float), logits[best], atol=1e-4)
    np.testing.assert_allclose(np.array(numbers[1], float), softmax[best], atol=0.006)
    assert "image: output (1, 7), " in output and " ms\n" in output


def test_all_classes_are_printed_where_there_are_fewer_than_five(here, capsys):
    write_model("model.onnx", "classification", COLORS)
    rows = ROW.findall(call(classify, capsys))
    assert sorted(row[1] for row in rows) == ["class 0", "class 1", "class 2", "class 3"]


def test_labels_come_from_the_metadata_unless_a_file_is_given(here, capsys):
    metadata = {"classes": json.dumps(["nichts", "rot", "grün", "blau"])}
    write_model("model.onnx", "classification", COLORS, metadata=metadata)
    assert "grün" in call(classify, capsys)
    Path("names.txt").write_text("nothing\nred\ngreen\nblue\n")
    output = call(classify, capsys, "--classes", "names.txt")
    assert "green" in output and "grün" not in output


@pytest.mark.parametrize("task", SCRIPTS)
def test_the_images_of_a_folder_are_answered_one_by_one(here, capsys, task):
    write_model("model.onnx", task)
    for name in ("b.png", "a.jpg", "a.png", "C.BMP"):
        write_image(here / "photos" / name, noise(20, 30))
    Path("photos/readme.txt").write_text("no image")
    output = call(SCRIPTS[task], capsys, "--input", "photos")
    assert re.findall(r"^(\S+): output", output, re.M) == ["C", "a.jpg", "a.png", "b"]
    written = sorted(path.name for path in Path("out").iterdir())
    assert written == ["C.png", "a.jpg.png", "a.png.png", "b.png"]
    assert all(cv2.imread(f"out/{name}") is not None for name in written)


@pytest.mark.parametrize("task", SCRIPTS)
def test_a_video_becomes_a_video_of_as_many_frames_and_a_line_a_frame(here, capsys, task):
    write_model("model.onnx", task)
    write_video("clip.avi")
    output = call(SCRIPTS[task], capsys, "--input", "clip.avi")
    lines = re.findall(r"^frame (\d+): .+ %, \d+\.\d ms$", output, re.M)
    assert lines == [str(number) for number in range(1, FRAMES + 1)]
    assert [path.name for path in Path("out").iterdir()] == ["clip.avi"]
    assert len(read_video("out/clip.avi")) == FRAMES
    assert cv2.VideoCapture("out/clip.avi").get(cv2.CAP_PROP_FPS) == 10


def test_ctrl_c_keeps_the_video_up_to_there(here):
    write_video("clip.avi", frames=3000)
    command = [sys.executable, "-u", path_of(classify), *BASE, "--input", "clip.avi"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as running:
        while not running.stdout.readline().startswith("frame 3:"):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        errors = running.communicate()[1]
    assert (running.returncode, errors) == (130, "interrupted\n")
    assert [path.name for path in Path("out").iterdir()] == ["clip.avi"]
    assert 1 <= len(read_video("out/clip.avi")) < 3000


def test_without_a_display_show_writes_the_picture_and_says_so(here):
    ended = process(path_of(classify), *BASE, "--show")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "picture: out/image.png (there is no display to show it on)" in ended.stdout
    assert Path("out/image.png").exists()


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
def test_every_engine_answers_the_same_and_verbose_names_its_layers(here, capsys, engine):
    expected = ROW.findall(call(classify, capsys))
    output = call(classify, capsys, "--engine", engine, "--verbose")
    assert ROW.findall(output) == expected
    title, *layers = output.partition("preprocessing")[0].splitlines()
    assert title.startswith(f"OpenCV {cv2.__version__} (engine {engine}, ")
    assert title.endswith(f": {len(layers)} layers") and layers


LOGITS = np.array([1.25, 0.5, -3.0], np.float32)
SHAPES = [(100, 100), (3000, 4000), (1080, 1920), (640, 480), (1, 1), (2000, 40), (96, 9000)]


def corner_of(picture: np.ndarray, plain: np.ndarray) -> tuple[int, int]:
    """Height and width of what was drawn into the top left corner."""
    rows, columns = (picture != plain).any(axis=2).nonzero()
    assert rows.min() == columns.min() == 0
    return rows.max() + 1, columns.max() + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_label_confidence_and_time_fit_the_top_left_corner_of_any_picture(shape):
    image = np.full((*shape, 3), 255, np.uint8)
    picture = classify.draw(image, LOGITS, ["bull mastiff", "b", "c"], 12.3, classify.STILL)
    plain = classify.fit_canvas(image)
    height, width = corner_of(picture, plain)
    assert height < picture.shape[0] and width < picture.shape[1]
    line = height / 3.3
    assert line >= 20 and line >= 0.04 * min(picture.shape[:2])
    box = picture[:height, :width]
    assert (box > 230).mean() > 0.02 and np.median(box) < 100


@pytest.mark.parametrize("shape", [(100, 100), (3000, 4000), (1080, 1920), (480, 640)])
def test_the_corner_leaves_most_of_a_picture_as_it_is(shape):
    image = noise(*shape)
    picture = classify.draw(image, LOGITS, ["bull mastiff", "b", "c"], 12.3, classify.STILL)
    height, width = corner_of(picture, classify.fit_canvas(image))
    assert height * width < 0.2 * picture.shape[0] * picture.shape[1]


def test_a_small_picture_is_enlarged_pixel_by_pixel_and_a_narrow_one_gets_a_margin():
    image = noise(100, 100)
    np.testing.assert_array_equal(classify.fit_canvas(image), image.repeat(4, 0).repeat(4, 1))
    image = noise(1000, 50)
    narrow = classify.fit_canvas(image)
    np.testing.assert_array_equal(narrow[:, :50], image)
    assert narrow.shape == (1000, classify.MIN_SIDE, 3)
    image = noise(480, 640)
    np.testing.assert_array_equal(classify.fit_canvas(image), image)


def test_the_corner_tells_label_confidence_and_time():
    image, names = noise(400, 400), ["cat", "dog", "cow"]
    picture = classify.draw(image, LOGITS, names, 12.3, classify.STILL)
    for logits, labels, time_ms in (
        (LOGITS, ["dog", "cat", "cow"], 12.3),
        (LOGITS + 0.01, names, 12.3),
        (LOGITS * [1, 0, 0], names, 12.3),
        (LOGITS, names, 12.4),
    ):
        other = classify.draw(image, np.float32(logits), labels, time_ms, classify.STILL)
        assert (picture != other).any()


def test_a_label_too_long_for_the_picture_is_cut():
    image = noise(400, 400)
    picture = classify.draw(image, LOGITS, ["x" * 999, "b", "c"], 1.0, classify.STILL)
    assert corner_of(picture, image)[1] <= 400


def prepare_bad_files() -> None:
    data = Path("model.onnx").read_bytes()
    Path("truncated.onnx").write_bytes(data[: len(data) // 2])
    for name in ("text.onnx", "text.png", "notes.txt", "folder/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("two lines\nof text\n")
    Path("text.mp4").write_bytes(b"\0\0\0\x20ftypisom" + b"text" * 100)
    for name in ("empty.onnx", "empty.png", "empty.txt", "empty.avi"):
        Path(name).touch()
    Path("nothing").mkdir()
    for name in ("cut.png", "cut.jpg"):
        photo = write_image(Path(name), noise(60, 60))
        photo.write_bytes(photo.read_bytes()[:3000])
    write_model("two.onnx", "classification", SEVEN, inputs=["left", "right"])
    write_model("flat.onnx", "classification", SEVEN, shape=(1, 12))
    write_model("grey.onnx", "classification", SEVEN, shape=(1, 1, 224, 224))
    write_model("batch.onnx", "classification", SEVEN, shape=(2, 3, 224, 224))
    write_model("fixed.onnx", "classification", SEVEN, shape=(1, 3, 48, 64))
    write_model(
        "no_std.onnx",
        "classification",
        SEVEN,
        metadata={"preprocess": json.dumps({"mean": MEAN, "std": [0.2, 0, 0.2], "size": "own"})},
    )
    Path("six.txt").write_text("a\nb\nc\nd\ne\nf\n")
    Path("blank.txt").write_text("a\nb\n\nd\ne\nf\ng\n")
    Path("latin.txt").write_bytes("a\nb\ngrün\n".encode("latin-1"))


BAD = {
    "--model none.onnx": "none.onnx: no such file",
    "--model nothing": "nothing: no such file",
    "--model empty.onnx": "empty.onnx: not an ONNX model",
    "--model text.onnx": "text.onnx: not an ONNX model",
    "--model truncated.onnx": "truncated.onnx: not an ONNX model, or not the whole of one",
    "--model two.onnx": "two.onnx: found the inputs left (1 x 3 x ? x ?), right (1 x 3 x ? x ?)",
    "--model flat.onnx": "flat.onnx: found the inputs image (1 x 12); expected one of float32 ima",
    "--model grey.onnx": "grey.onnx: found the inputs image (1 x 1 x 224 x 224)",
    "--model batch.onnx": "batch.onnx: found the inputs image (2 x 3 x 224 x 224)",
    "--model no_std.onnx": "metadata of no_std.onnx: std: found [0.2, 0.0, 0.2]",
    "--input none.png": "none.png: no such file",
    "--input empty.png": "empty.png: the file is empty",
    "--input empty.avi": "empty.avi: the file is empty",
    "--input text.png": "text.png: not an image",
    "--input cut.png": "cut.png: the image is cut off",
    "--input cut.jpg": "cut.jpg: the image is cut off",
    "--input notes.txt": "notes.txt: neither an image nor a video",
    "--input nothing": "nothing: the folder holds no image",
    "--input folder": "folder/a.png: not an image",
    "--input 99": "--input 99: there is no such camera",
    "--input 99999999999999999999": "OpenCV",
    "--classes none.txt": "none.txt: no such file",
    "--classes nothing": "nothing: is a directory",
    "--classes empty.txt": "empty.txt: found no class",
    "--classes six.txt": "found 6 classes; the model has 7 outputs",
    "--classes blank.txt": "blank.txt: found a blank line",
    "--classes latin.txt": "latin.txt: not a text file in UTF-8",
    "--output model.onnx": "model.onnx/image.png: cannot be written: ",
    "--engine fast": "--engine: found 'fast'",
    "--backend tensorrt": "--backend: found 'tensorrt'",
    "--target tpu": "--target: found 'tpu'",
    f"--target {unavailable_target()}": f"--target: found {unavailable_target()!r}; this OpenCV",
    "--mean 1 2": "--mean",
    "--mean 1 2 3 4": "unrecognized arguments: 4",
    "--mean 1 2 nan": "--mean: found [1.0, 2.0, nan]; expected three numbers",
    "--mean 1 2 red": "--mean: invalid float value: 'red'",
    "--std 1 2": "--std",
    "--std 1 2 3 4": "unrecognized arguments: 4",
    "--std 1 0 1": "--std: found [1.0, 0.0, 1.0]; expected three numbers above 0",
    "--std 1 nan 1": "--std: found [1.0, nan, 1.0]",
    "--std 1 -1 1": "--std: found [1.0, -1.0, 1.0]",
    "--scale 0": "--scale: found 0.0; expected a number other than 0",
    "--scale nan": "--scale: found nan",
    "--height 224": "--height and --width: found 224 and None",
    "--width 224": "--height and --width: found None and 224",
    "--rsz-height 256": "--rsz-height and --rsz-width: found 256 and None",
    "--height 0 --width 9": "--height and --width: found 0 and 9",
    "--height -9 --width -9": "--height and --width: found -9 and -9",
    "--height 9 --width 9999999999": "--height and --width: found 9 and 9999999999",
    "--model fixed.onnx --height 9 --width 9": "--height and --width: found 9 and 9; the input of",
    "--colour": "unrecognized arguments: --colour",
}


@pytest.mark.parametrize("args", BAD)
def test_bad_input_is_refused_in_one_line(here, capfd, args):
    prepare_bad_files()
    assert BAD[args] in refusal(classify, capfd, *args.split())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("preprocess: [unclosed", "params.yaml: cannot be read as YAML"),
        ("made: 2020-13-45", "params.yaml: cannot be read as YAML"),
        (b"\xff\xfe\xfa", "params.yaml: cannot be read as YAML"),
        ({"std": [1, 1, 1], "size": "own"}, "params.yaml: preprocess.mine: not a preprocessing"),
        (HALVES, "params.yaml: preprocess.mine: not a preprocessing: KeyError 'size'"),
        (HALVES | {"size": "own", "mean": [1, 2]}, "params.yaml: preprocess.mine: mean: found"),
        (HALVES | {"size": "own", "mean": "grey"}, "params.yaml: preprocess.mine: not a prep"),
        (HALVES | {"size": {"resize": "big", "crop": 9}}, "params.yaml: preprocess.mine: not a"),
        (
            HALVES | {"size": {"resize": 9, "crop": float("inf")}},
            "params.yaml: preprocess.mine: not",
        ),
        (HALVES | {"size": {"resize": 9, "crop": -9}}, "found -9 and -9"),
        (HALVES | {"size": "own", "scale": 0}, "params.yaml: preprocess.mine: not a preprocess"),
    ],
)
def test_a_broken_params_yaml_is_refused_in_one_line(here, capfd, content, expected):
    if isinstance(content, dict):
        profile = {"task": "classification"} | content
        content = json.dumps({"preprocess": {"mine": profile}}).replace("Infinity", ".inf")
    Path("params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert expected in refusal(classify, capfd)


@pytest.mark.parametrize("task", SCRIPTS)
@pytest.mark.parametrize("flag", ["--input", "--model"])
def test_a_name_that_is_not_utf_8_is_refused(here, task, flag):
    name = os.fsdecode(b"\xff.png")
    shutil.copy("image.png", name)
    done = process(path_of(SCRIPTS[task]), *BASE, flag, name)
    assert done.returncode == 2
    assert done.stderr == "error: '\\udcff.png': the name is not UTF-8\n"


@pytest.mark.parametrize("name", ["image.png", "clip.avi"])
def test_neither_its_input_nor_a_folder_is_written_over(here, capfd, name):
    write_video("clip.avi")
    before = Path(name).read_bytes()
    assert f"{name}: is the input itself" in refusal(
        classify, capfd, "--input", name, "--output", "."
    )
    assert Path(name).read_bytes() == before
    Path("out", name).mkdir(parents=True)
    assert f"out/{name}: cannot be written: Is a directory" in refusal(
        classify, capfd, "--input", name
    )


def test_a_name_may_be_as_long_as_the_file_system_allows(here, capsys):
    image, clip = "x" * 251 + ".png", "x" * 251 + ".avi"
    shutil.copy("image.png", image)
    write_video(clip)
    for name in (image, clip):
        call(classify, capsys, "--input", name)
        assert Path("out", name).exists()


def test_a_picture_whose_name_would_be_too_long_is_refused(here, capfd):
    for suffix in (".png", ".bmp"):
        write_image(here / "photos" / ("x" * 250 + suffix))
    errors = refusal(classify, capfd, "--input", "photos")
    assert "x.bmp.png: cannot be written: File name too long" in errors


@pytest.mark.parametrize("args", ["--model none.onnx", "--input text.mp4", "--input 99"])
def test_a_process_refuses_bad_input_in_one_line_without_a_traceback(here, args):
    prepare_bad_files()
    ended = process(path_of(classify), *BASE, *args.split())
    assert ended.returncode == 2 and not Path("out").exists()
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("task", SCRIPTS)
@pytest.mark.parametrize("model", ["none", "empty", "text", "truncated", "two"])
def test_the_bare_environment_refuses_a_bad_model_in_one_line(here, bare_python, task, model):
    prepare_bad_files()
    ended = alone(task, bare_python, *BASE, "--model", f"{model}.onnx")
    assert ended.returncode == 2 and not Path("out").exists()
    assert ended.stderr.startswith(f"error: {model}.onnx: ") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("inputs", [["image"], ["left", "right"]])
def test_the_bare_environment_refuses_in_one_line_what_opencv_cannot_run(here, bare_python, inputs):
    of_one_channel = {"weights": [[1], [2]], "shape": (1, 1, "height", "width")}
    write_model("model.onnx", "classification", inputs=inputs, **of_one_channel)
    ended = alone("classification", bare_python, *BASE, "--engine", "classic")
    assert ended.returncode == 2 and not Path("out").exists()
    assert ended.stderr.startswith("error: model.onnx: OpenCV cannot run it on a blob of (1, 3, ")
    assert ended.stderr.count("\n") == 1
