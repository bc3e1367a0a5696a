"""run_onnx.py: what it reads, answers and writes, alone and in the project, and what it refuses."""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers.backends import ON_CPU, unavailable_target
from helpers.images import noise, write_image
from helpers.params import MEAN, model_entry
from helpers.standalone import (
    BASE,
    COLORS,
    FRAMES,
    HALVES,
    SCRIPT,
    call,
    preprocessing,
    printed,
    process,
    read_video,
    refusal,
    table,
    write_model,
    write_video,
)

from parity.backends.pytorch import load_pytorch
from parity.core.paths import onnx_path, weights_path
from parity.networks.network import load_network
from tools import run_onnx

TO_48 = {"size": {"resize": 64, "crop": 48}}
SEVEN = np.random.default_rng(7).normal(size=(7, 3)).tolist()
CLASS_ROW = re.compile(r" *(\d+)  (.+?) +(-?\d+\.\d{4}) +(\d+\.\d\d) %")

both_tasks = pytest.mark.parametrize("task", ["classification", "segmentation"])


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds image.png and model.onnx, a classification of 7 classes."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png", noise(60, 90))
    write_model("model.onnx", "classification", SEVEN)
    return tmp_path


def written() -> list[str]:
    """The names of all files in the output folder."""
    return sorted(path.name for path in Path("out").iterdir())


# Alone


@both_tasks
def test_it_imports_neither_torch_nor_this_project(here, task):
    write_model("model.onnx", task)
    code = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print({"torch", "torchvision", "parity", "onnx"} & {name.split(".")[0] for name in sys.modules})
"""
    ended = process("-c", code, SCRIPT, *BASE)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "set()"


def test_it_is_written_in_the_syntax_of_python_3_8():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))


def test_the_bare_environment_has_opencv_and_numpy_alone(bare_python):
    names = ("cv2", "numpy", "onnx", "yaml", "torch", "parity", "pip")
    code = f"from importlib.util import find_spec; print([n for n in {names} if find_spec(n)])"
    assert process("-I", "-c", code, python=bare_python).stdout == "['cv2', 'numpy']\n"


def alone(bare_python: Path, *args: object) -> subprocess.CompletedProcess:
    """Copy the script, and nothing else of the project, here; run it in the bare environment."""
    script = shutil.copy(SCRIPT, Path.cwd())
    return process("-I", script, *args, python=bare_python)


@both_tasks
def test_copied_alone_it_answers_as_in_the_full_environment(here, bare_python, task):
    names = ["nothing", "red", "green", "blue"]
    metadata = {"preprocess": json.dumps(HALVES | TO_48), "classes": json.dumps(names)}
    write_model("model.onnx", task, metadata=metadata)
    full = process(SCRIPT, *BASE)
    source, flags = printed(full.stdout)
    assert source == "metadata of model.onnx" and "red" in full.stdout
    Path("params.yaml").write_text("not: [read")
    ended = alone(bare_python, *BASE)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert table(ended.stdout) == table(full.stdout)

    model = onnx.load("model.onnx")
    del model.metadata_props[:]
    onnx.save(model, "model.onnx")
    Path("names.txt").write_text("\n".join(names))
    ended = alone(bare_python, *BASE, *flags, "--classes", "names.txt", "--task", task)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert table(ended.stdout) == table(full.stdout)


def test_a_network_copied_alone_answers_as_pytorch_does(converted, bare_python):
    path = write_image(converted / "image.png", noise(100, 80))
    shutil.copy(onnx_path("squeezenet1_1"), "model.onnx")
    ended = alone(bare_python, *BASE)
    source, flags = printed(ended.stdout)
    assert source == "metadata of model.onnx"
    network = load_network(weights_path("squeezenet1_1"), "squeezenet1_1", model_entry(), 10)
    blob = run_onnx.blob_of(run_onnx.read_image(path), preprocessing(*flags))
    logits = load_pytorch(network, ON_CPU)(blob)[0]
    found = {int(row[0]): float(row[2]) for row in CLASS_ROW.findall(ended.stdout)}
    assert list(found) == np.argsort(-logits)[:5].tolist()
    np.testing.assert_allclose(list(found.values()), logits[list(found)], atol=1e-4)


# The ONNX file


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_metadata_and_input_are_what_the_package_onnx_reads(converted, exporter):
    path = Path(f"{exporter}.onnx")
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert len(metadata) > 5
    assert run_onnx.read_model(path) == (
        f"squeezenet1_1-{exporter}",
        metadata,
        (64, 64),
        ["output"],
    )


def test_a_constant_that_is_listed_as_an_input_is_none(here):
    model = onnx.load("model.onnx")
    weights = onnx.helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, [7, 3, 1, 1])
    model.graph.input.append(weights)
    onnx.save(model, "model.onnx")
    assert run_onnx.read_model(Path("model.onnx")).fixed is None


def test_a_damaged_file_is_read_or_refused_in_one_line(here):
    """Cut off anywhere, or with any byte changed."""
    data = Path("model.onnx").read_bytes()
    damaged, refused = [data[:end] for end in range(len(data))], 0
    for place, byte in enumerate(data):
        damaged.append(data[:place] + bytes([byte ^ 255]) + data[place + 1 :])
    for content in damaged:
        Path("model.onnx").write_bytes(content)
        try:
            run_onnx.read_model(Path("model.onnx"))
        except run_onnx.Refusal as refusal:
            assert refusal.code == 2 and "\n" not in refusal.message
            refused += 1
    assert refused > len(data) - 50


def test_the_task_is_that_of_the_metadata_else_of_the_flag(here, capfd):
    assert "output (1, 7)" in call(capfd, "--task", "classification")
    assert "made for classification; found --task segm" in refusal(capfd, "--task", "segmentation")
    for task in ("", "classify"):  # none, and another program's
        write_model("model.onnx", "classification", SEVEN, metadata={"task": task})
        assert "output (1, 7)" in call(capfd, "--task", "classification")
        assert "expected --task classification or segmentation" in refusal(capfd)


@pytest.mark.parametrize(
    ("made_for", "task", "expected"),
    [
        ("segmentation", "classification", "the model's output is (1, 4, 112, 112); expected"),
        ("classification", "segmentation", "the model's output is (1, 4); expected"),
    ],
)
def test_the_output_of_the_other_task_is_refused(here, capfd, made_for, task, expected):
    size = "" if task == "classification" else " --height 64 --width 64"
    write_model("model.onnx", made_for, metadata={"task": ""})
    assert expected in refusal(capfd, "--task", task, *size.split())


# Answers


def test_the_best_five_classes_are_printed_with_id_label_logit_and_softmax(here, capsys):
    Path("names.txt").write_text("tench\ngreat white shark\nhen\nkite\nvulture\naxolotl\nnewt\n\n")
    output = call(capsys, "--classes", "names.txt")
    blob = run_onnx.blob_of(run_onnx.read_image(Path("image.png")), preprocessing())
    logits = np.array(SEVEN) @ blob.mean(axis=(0, 2, 3), dtype=np.float64)
    softmax = 100 * np.exp(logits) / np.exp(logits).sum()
    best = np.argsort(-logits)[:5]
    ids, labels, *numbers = zip(*CLASS_ROW.findall(output), strict=True)
    assert [int(index) for index in ids] == best.tolist()
    assert list(labels) == np.array(Path("names.txt").read_text().split("\n"))[best].tolist()
    np.testing.assert_allclose(np.array(numbers[0], float), logits[best], atol=1e-4)
    np.testing.assert_allclose(np.array(numbers[1], float), softmax[best], atol=0.006)
    assert "image: output (1, 7), " in output and " ms\n" in output


def test_all_classes_are_printed_where_there_are_fewer_than_five(here, capsys):
    write_model("model.onnx", "classification", COLORS)
    rows = CLASS_ROW.findall(call(capsys))
    assert sorted(row[1] for row in rows) == ["class 0", "class 1", "class 2", "class 3"]


def test_labels_come_from_the_metadata_unless_a_file_is_given(here, capsys):
    metadata = {"classes": json.dumps(["nichts", "rot", "grün", "blau"])}
    write_model("model.onnx", "classification", COLORS, metadata=metadata)
    assert "grün" in call(capsys)
    Path("names.txt").write_text("nothing\nred\ngreen\nblue\n")
    output = call(capsys, "--classes", "names.txt")
    assert "green" in output and "grün" not in output


@both_tasks
def test_the_images_of_a_folder_are_answered_one_by_one(here, capsys, task):
    write_model("model.onnx", task)
    for name in ("b.png", "a.jpg", "a.png", "C.BMP"):
        write_image(here / "photos" / name, noise(20, 30))
    Path("photos/readme.txt").write_text("no image")
    output = call(capsys, "--input", "photos")
    assert re.findall(r"^(\S+): output", output, re.M) == ["C", "a.jpg", "a.png", "b"]
    names = ["model-C.png", "model-a.jpg.png", "model-a.png.png", "model-b.png"]
    assert written() == names
    assert all(cv2.imread(f"out/{name}") is not None for name in names)


@both_tasks
def test_a_video_becomes_a_video_of_as_many_frames_and_a_line_a_frame(here, capsys, task):
    write_model("model.onnx", task)
    write_video("clip.avi")
    output = call(capsys, "--input", "clip.avi")
    lines = re.findall(r"^frame (\d+): .+ %, \d+\.\d ms$", output, re.M)
    assert lines == [str(number) for number in range(1, FRAMES + 1)]
    assert written() == ["model-clip.avi"]
    assert len(read_video("out/model-clip.avi")) == FRAMES
    assert cv2.VideoCapture("out/model-clip.avi").get(cv2.CAP_PROP_FPS) == 10


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_the_video_up_to_there_and_nothing_half_written(here, stop):
    write_video("clip.avi", frames=3000)
    command = [sys.executable, "-u", SCRIPT, *BASE, "--input", "clip.avi"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as running:
        while not running.stdout.readline().startswith("frame 3:"):
            assert running.poll() is None
        running.send_signal(stop)
        errors = running.communicate()[1]
    assert (running.returncode, errors) == (130, "interrupted\n")
    assert written() == [path.name for path in Path("out").iterdir()] == ["model-clip.avi"]
    assert 1 <= len(read_video("out/model-clip.avi")) < 3000


# Files


def test_models_do_not_overwrite_each_others_picture_of_the_same_photo(here, capsys):
    named = {"model": "resnet50/a"}
    write_model("model.onnx", "classification", SEVEN, metadata=named)
    write_model("mended.onnx", "classification", SEVEN, metadata=named)
    write_model("resnet18.onnx", "segmentation", metadata={"model": "resnet18"})
    write_model("plain.onnx", "segmentation")
    for path in here.glob("*.onnx"):
        call(capsys, "--model", path.name)
    assert written() == [
        "plain-image.png",
        "resnet18-image.png",
        "resnet50_a-image.png",
        "resnet50_a-mended-image.png",
    ]


@both_tasks
def test_save_writes_blob_output_and_time_in_place_of_the_picture(here, capsys, task):
    write_model("model.onnx", task, metadata={"preprocess": json.dumps(HALVES | TO_48)})
    printed_rows = table(call(capsys))
    output = call(capsys, "--save", "answers/one.npz", "--output", "none")
    assert table(output) == printed_rows[:-1] and "picture: " in printed_rows[-1]
    assert not Path("none").exists()
    assert [path.name for path in Path("answers").iterdir()] == ["one.npz"]
    with np.load("answers/one.npz") as saved:
        arrays = dict(saved)
    assert set(arrays) == {"blob", "output", "milliseconds"}
    took = f"warm pass {arrays['milliseconds']:.1f} ms"
    assert f"output {arrays['output'].shape}, {took}\n" in output
    flags = printed(output)[1]
    image = run_onnx.read_image(Path("image.png"))
    np.testing.assert_array_equal(arrays["blob"], run_onnx.blob_of(image, preprocessing(*flags)))
    net = cv2.dnn.readNetFromONNX("model.onnx")
    net.setInput(arrays["blob"])
    np.testing.assert_array_equal(arrays["output"], net.forward())


@pytest.mark.parametrize("source", ["photos", "clip.avi"])
def test_save_takes_a_single_image(here, capfd, source):
    write_video("clip.avi")
    write_image(here / "photos/a.png")
    expected = f"--save: found --input {source}; expected a single image"
    assert expected in refusal(capfd, "--input", source, "--save", "one.npz")


def test_a_file_that_cannot_be_saved_is_refused(here, capfd):
    Path("folder.npz").mkdir()
    for path in ("folder.npz", "model.onnx/one.npz"):
        assert f"{path}: cannot be written: " in refusal(capfd, "--save", path)
    assert "image.png: cannot be written: it is the input itself" in refusal(
        capfd, "--save", "image.png"
    )


@pytest.mark.parametrize(
    ("command", "code", "errors"),
    [
        ("{} | true", 141, ""),
        ("{} --verbose > /dev/full", 2, "error: stdout: no space left on device\n"),
        ("{} > /dev/full", 2, "error: stdout: no space left on device\n"),
        ("{} >&-", 0, ""),
    ],
)
def test_a_reader_that_has_left_or_a_full_disk_is_no_traceback(here, command, code, errors):
    script = shlex.join(map(str, [sys.executable, SCRIPT, *BASE]))
    shell = ["bash", "-c", f"set -o pipefail; {command.format(script)}"]
    for unbuffered in ("", "1"):
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        ended = subprocess.run(shell, capture_output=True, text=True, env=environment)
        assert (ended.returncode, ended.stderr) == (code, errors)


def test_without_a_display_show_writes_the_picture_and_says_so(here):
    ended = process(SCRIPT, *BASE, "--show")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "picture: out/model-image.png (there is no display to show it on)" in ended.stdout
    assert written() == ["model-image.png"]


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
def test_every_engine_answers_the_same_and_verbose_names_its_layers(here, capsys, engine):
    expected = CLASS_ROW.findall(call(capsys))
    output = call(capsys, "--engine", engine, "--verbose")
    assert CLASS_ROW.findall(output) == expected
    title, *layers = output.partition("preprocessing")[0].splitlines()
    assert title.startswith(f"OpenCV {cv2.__version__} (engine {engine}, ")
    assert title.endswith(f": {len(layers)} layers") and layers


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
    "--model nothing": "nothing: is a directory",
    "--model empty.onnx": "empty.onnx: not an ONNX model",
    "--model text.onnx": "text.onnx: not an ONNX model",
    "--model truncated.onnx": "truncated.onnx: not an ONNX model, or only a part of one",
    "--model two.onnx": "two.onnx: found the inputs left (1 x 3 x ? x ?), right (1 x 3 x ? x ?)",
    "--model flat.onnx": "flat.onnx: found the inputs image (1 x 12); expected one of float32 ima",
    "--model grey.onnx": "grey.onnx: found the inputs image (1 x 1 x 224 x 224)",
    "--model batch.onnx": "batch.onnx: found the inputs image (2 x 3 x 224 x 224)",
    "--model no_std.onnx": "metadata of no_std.onnx: not a preprocessing: ValueError found 0;",
    "--input none.png": "none.png: no such file",
    "--input empty.png": "empty.png: the file is empty",
    "--input empty.avi": "empty.avi: the file is empty",
    "--input text.png": "text.png: not an image",
    "--input cut.png": "cut.png: the image is cut off",
    "--input cut.jpg": "cut.jpg: the image is cut off",
    "--input notes.txt": "notes.txt: neither an image nor a video",
    "--input nothing": "nothing: the folder holds no image",
    "--input folder": "folder/a.png: not an image",
    "--input 99": "99: no such camera and no such file",
    "--input 99999999999999999999": "OpenCV",
    "--classes none.txt": "none.txt: no such file",
    "--classes nothing": "nothing: is a directory",
    "--classes empty.txt": "empty.txt: found no class",
    "--classes six.txt": "found 6 classes in six.txt; the model has 7 outputs",
    "--classes blank.txt": "blank.txt: found a blank line",
    "--classes latin.txt": "latin.txt: not a text file in UTF-8",
    "--output model.onnx": "model.onnx/model-image.png: cannot be written: ",
    "--engine fast": "--engine: found 'fast'",
    "--backend tensorrt": "--backend: found 'tensorrt'",
    "--target tpu": "--target: found 'tpu'",
    f"--target {unavailable_target()}": f"--target: found {unavailable_target()!r}; this OpenCV",
    "--mean 1 2": "--mean",
    "--mean 1 2 3 4": "unrecognized arguments: 4",
    "--mean 1 2 nan": "--mean: invalid number value: 'nan'",
    "--mean 1 2 red": "--mean: invalid number value: 'red'",
    "--std 1 2": "--std",
    "--std 1 2 3 4": "unrecognized arguments: 4",
    "--std 1 0 1": "--std: invalid positive value: '0'",
    "--std 1 nan 1": "--std: invalid positive value: 'nan'",
    "--std 1 -1 1": "--std: invalid positive value: '-1'",
    "--scale 0": "--scale: invalid positive value: '0'",
    "--scale 1/0": "--scale: invalid positive value: '1/0'",
    "--scale 1e-99": "--scale: invalid positive value: '1e-99'",
    "--mean 1 2 1e99": "--mean: invalid number value: '1e99'",
    "--scale nan": "--scale: invalid positive value: 'nan'",
    "--height 224": "--height and --width: found 224 and None",
    "--width 224": "--height and --width: found None and 224",
    "--rsz-height 256": "--rsz-height and --rsz-width: found 256 and None",
    "--resize -1": "--rsz-height and --rsz-width: found -1 and -1",
    "--resize 200": "--crop: found 224 x 224; expected at most 200 x 200",
    "--interpolation lanczos": "--interpolation: invalid choice: 'lanczos'",
    "--height 0 --width 9": "--height and --width: found 0 and 9",
    "--height -9 --width -9": "--height and --width: found -9 and -9",
    "--height 9 --width 9999999999": "--height and --width: found 9 and 9999999999",
    "--model fixed.onnx --height 9 --width 9": "--height and --width: found 9 and 9; the input of",
    "--colour": "unrecognized arguments: --colour",
}


@pytest.mark.parametrize("args", BAD)
def test_bad_input_is_refused_in_one_line(here, capfd, args):
    prepare_bad_files()
    assert BAD[args] in refusal(capfd, *args.split())


@both_tasks
@pytest.mark.parametrize("flag", ["--input", "--model"])
def test_a_name_that_is_not_utf_8_is_refused(here, task, flag):
    name = os.fsdecode(b"\xff.png")
    shutil.copy("image.png", name)
    done = process(SCRIPT, *BASE, flag, name)
    assert done.returncode == 2
    assert done.stderr == "error: '\\udcff.png': the name is not UTF-8\n"


@pytest.mark.parametrize("name", ["image.png", "clip.avi"])
def test_neither_its_input_nor_a_folder_is_written_over(here, capfd, name):
    write_video("clip.avi")
    Path(name).rename(f"model-{name}")
    name = f"model-{name}"
    write_model("model.onnx", "classification", SEVEN, metadata={"model": "model"})
    before = Path(name).read_bytes()
    linked = Path(name.removeprefix("model-"))
    linked.symlink_to(name)
    errors = refusal(capfd, "--input", linked.name, "--output", ".")
    assert f"{name}: cannot be written: it is the input itself" in errors
    assert Path(name).read_bytes() == before
    Path("out", name).mkdir(parents=True)
    assert f"out/{name}: cannot be written" in refusal(capfd, "--input", linked.name)


def test_a_picture_whose_name_would_be_too_long_is_refused(here, capfd):
    longest = "x" * (255 - len("model-.png"))
    write_video(f"{longest}.avi")
    for name in (f"{longest}.png", f"{longest}.avi"):
        shutil.copy("image.png", f"{longest}.png")
        call(capfd, "--input", name)
        assert Path("out", f"model-{name}").exists()
    write_image(here / f"{longest}x.png")
    errors = refusal(capfd, "--input", f"{longest}x.png")
    assert "x.png: cannot be written: file name too long" in errors


@pytest.mark.parametrize("args", ["--model none.onnx", "--input text.mp4", "--input 99"])
def test_a_process_refuses_bad_input_in_one_line_without_a_traceback(here, args):
    prepare_bad_files()
    ended = process(SCRIPT, *BASE, *args.split())
    assert ended.returncode == 2 and not Path("out").exists()
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("model", ["none", "empty", "text", "truncated", "two"])
def test_the_bare_environment_refuses_a_bad_model_in_one_line(here, bare_python, model):
    prepare_bad_files()
    ended = alone(bare_python, *BASE, "--model", f"{model}.onnx")
    assert ended.returncode == 2 and not Path("out").exists()
    assert ended.stderr.startswith(f"error: {model}.onnx: ") and ended.stderr.count("\n") == 1


def test_what_opencv_cannot_run_is_refused_in_one_line(here, capfd):
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 2])
    weights = onnx.numpy_helper.from_array(np.ones((3 * 8 * 8, 2), np.float32), "weights")
    nodes = [
        onnx.helper.make_node("Flatten", ["image"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(nodes, "only 8x8", [image], [logits], [weights])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), "model.onnx")
    errors = refusal(capfd, "--task", "classification")
    assert "model.onnx: OpenCV cannot run it on a blob of (1, 3, 224, 224): " in errors
