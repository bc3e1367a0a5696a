"""What run_onnx.py may write over and open, and that a fault is one line and loses nothing."""

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers.images import noise, write_image
from helpers.standalone import (
    BASE,
    COLORS,
    SCRIPT,
    call,
    process,
    read_video,
    refusal,
    write_model,
    write_video,
)
from onnx import TensorProto, helper, numpy_helper

from tools import run_onnx

OUTSIDE = ("../secret", "sub/../../secret", "/etc/passwd", "link", "sub/link", "", ".", "sub", "no")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, below one with a file `secret`: it holds image.png and model.onnx."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "secret").write_bytes(bytes(1000))
    write_image(folder / "image.png", noise(60, 90))
    write_model("model.onnx", "classification")
    return folder


# What may be replaced


def test_everything_that_it_wrote_it_may_replace(here, capsys):
    write_video("clip.avi")
    outputs = {"out/model-image.png": (), "out/model-clip.avi": ("--input", "clip.avi")}
    outputs["one.npz"] = ("--save", "one.npz")
    for path, args in outputs.items():
        call(capsys, *args)
        assert run_onnx.is_own(Path(path))
        Path(path).chmod(0o600)
        before = Path(path).stat().st_ino
        call(capsys, *args)
        assert Path(path).stat().st_ino != before
    assert cv2.imread("out/model-image.png") is not None
    assert len(read_video("out/model-clip.avi")) == 6
    assert set(np.load("one.npz")) == {"blob", "output", "milliseconds"}
    names = {path.name for path in [*here.iterdir(), *Path("out").iterdir()]}
    assert not [name for name in names if "partial" in name]


def state(path: Path) -> list[int]:
    found = path.lstat()
    return [found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns]


@pytest.mark.parametrize("kind", ["photo", "empty", "folder", "link", "dangling", "fifo", "hard"])
@pytest.mark.parametrize("target", ["out/model-image.png", "out/model-clip.avi", "one.npz"])
def test_what_it_did_not_write_stays(here, capfd, kind, target):
    write_video("clip.avi")
    photo, path = write_image(here / "photo.png"), Path(target)
    path.parent.mkdir(exist_ok=True)
    make = {
        "photo": lambda: shutil.copy(photo, path),
        "empty": path.touch,
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(photo),
        "dangling": lambda: path.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(path),
        "hard": lambda: path.hardlink_to(photo),
    }
    make[kind]()
    args = {"one.npz": ("--save", target), "out/model-clip.avi": ("--input", "clip.avi")}
    before = state(path)
    errors = refusal(capfd, *args.get(target, ()))
    flag = "--save" if target == "one.npz" else "--output"
    assert f"{target}: cannot be written: it is there, and this tool did not write it" in errors
    assert f"({flag} names another place)" in errors
    assert state(path) == before and cv2.imread(str(photo)) is not None


def test_the_input_stays_under_all_its_names(here, capfd):
    call(capfd)
    Path("out/model-image.png").rename("image.png")  # a picture of its own is an input too
    before = Path("image.png").read_bytes()
    path = Path("out/model-image.png")
    for link in (path.hardlink_to, path.symlink_to):
        link(Path("image.png").resolve())
        assert "it is the input itself" in refusal(capfd)
        path.unlink()
    assert "it is the input itself" in refusal(capfd, "--save", "image.png")
    assert Path("image.png").read_bytes() == before


@pytest.mark.parametrize("path", ["model.onnx", "names.txt", "image.png", "params.yaml"])
def test_no_file_that_is_read_is_written(here, capfd, path):
    for name in ("names.txt", "params.yaml"):
        Path(name).write_text("a\nb\nc\nd\n" if name == "names.txt" else "{}")
    before = Path(path).read_bytes()
    refusal(capfd, "--classes", "names.txt", "--save", path)
    assert Path(path).read_bytes() == before


def test_two_images_of_a_folder_never_share_a_picture(here, capsys):
    for name in ("a.png", "a.jpg", "a.png.bmp", "a.jpg.png", "b.png"):
        write_image(here / "photos" / name)
    call(capsys, "--input", "photos")
    assert len(list(Path("out").iterdir())) == 5


# Faults of the disk


@pytest.mark.parametrize("args", [(), ("--save", "one.npz"), ("--input", "clip.avi")])
@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_is_one_line_and_the_file_from_before_stays(here, args, again):
    write_image(here / "image.png", noise(400, 400))
    write_video("clip.avi", frames=40, side=128)
    command = [sys.executable, SCRIPT, *BASE, *args]
    if again:
        subprocess.run(command, check=True, capture_output=True)
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    size = 2**14
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}
    ended = subprocess.run(command, capture_output=True, text=True, **limit)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    flag = "--save" if "--save" in args else "--output"
    assert ": cannot be written: " in ended.stderr and f"({flag} names" in ended.stderr
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_reader_that_leaves_discards_the_video(here):
    write_video("clip.avi", frames=3000)
    script = shlex.join(map(str, [sys.executable, "-u", SCRIPT, *BASE, "--input", "clip.avi"]))
    shell = ["bash", "-c", f"set -o pipefail; {script} | head -n 4"]
    ended = subprocess.run(shell, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (141, "")
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2> /dev/full"])
def test_closed_streams_change_nothing(here, closed):
    script = shlex.join(map(str, [sys.executable, SCRIPT, *BASE]))
    for args, code in (("", 0), (" --input none.png", 2)):
        shell = ["bash", "-c", f"{script}{args} {closed}"]
        ended = subprocess.run(shell, capture_output=True, text=True)
        assert ended.returncode == code
        assert "error" not in ended.stdout  # on no other stream instead
    assert Path("out/model-image.png").exists()


# What is opened


@pytest.mark.parametrize("kind", ["fifo", "zero", "loop", "folder"])
@pytest.mark.parametrize("flag", ["--model", "--input", "--classes", "params.yaml", "photos"])
def test_only_regular_files_are_opened(here, flag, kind):
    path = {"params.yaml": "params.yaml", "photos": "photos/a.png"}.get(flag, "other.png")
    Path(path).parent.mkdir(exist_ok=True)
    make = {
        "fifo": lambda: os.mkfifo(path),
        "zero": lambda: Path(path).symlink_to("/dev/zero"),
        "loop": lambda: Path(path).symlink_to(Path(path).name),
        "folder": Path(path).mkdir,
    }
    make[kind]()
    args = {"params.yaml": [], "photos": ["--input", "photos"]}.get(flag, [flag, path])
    ended = process(SCRIPT, *BASE, *args)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert path in ended.stderr


def test_a_file_too_large_to_be_read_is_refused(here, capfd):
    for flag, size in (("--input", run_onnx.MAX_IMAGE), ("--classes", run_onnx.MAX_TEXT)):
        with Path("sparse.png").open("wb") as file:
            file.truncate(size + 1)
        assert f"found {size + 1} bytes" in refusal(capfd, flag, "sparse.png")


# Tensors


def tensor(name: str, location: str, dims: tuple[int, ...] = (4, 3, 1, 1), **entries: object):
    """A float32 tensor whose data is in another file."""
    made = TensorProto(name=name, data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        made.external_data.add(key=key, value=str(value))
    return made


def put(model: onnx.ModelProto, place: str, secret: TensorProto) -> None:
    """Put a tensor somewhere into a model."""
    graph, value = model.graph, helper.make_tensor_value_info("c", 1, None)
    constant = helper.make_node("Constant", [], ["c"])
    inner = helper.make_graph([constant], "inner", [], [value])
    if place == "initializer":
        graph.initializer.append(secret)
    elif place == "sparse":
        graph.sparse_initializer.add(values=secret, dims=[9])
    elif place == "indices":
        graph.sparse_initializer.add(indices=secret, dims=[9])
    elif place == "constant":
        constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=secret)
        graph.node.append(constant)
    elif place == "list":
        constant.attribute.add(name="values", type=onnx.AttributeProto.TENSORS, tensors=[secret])
        graph.node.append(constant)
    elif place == "subgraph":
        inner.initializer.append(secret)
        choice = helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner)
        graph.node.append(choice)
    elif place == "function":
        constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=secret)
        model.functions.add(name="f", domain="d", node=[constant])
    elif place == "training":
        inner.initializer.append(secret)
        model.training_info.add(algorithm=inner)


GRAPH = ["initializer", "sparse", "indices", "constant", "list", "subgraph"]
PLACES = [*GRAPH, "function", "training"]


def refuses_tensor(capfd, path: str = "other.onnx") -> str:
    errors = refusal(capfd, "--model", path)
    assert errors.startswith(f"error: {path}: tensor 'secret': ")
    return errors


@pytest.mark.parametrize("place", PLACES)
def test_external_data_outside_the_folder_is_refused_wherever_it_is(here, capfd, place):
    model = onnx.load("model.onnx")
    put(model, place, tensor("secret", "../secret"))
    Path("other.onnx").write_bytes(model.SerializeToString())
    assert "found location '../secret' (not a regular file there)" in refuses_tensor(capfd)


@pytest.mark.parametrize("location", [*OUTSIDE, "fifo", "a\0b", "x" * 300, "loop"])
def test_external_data_is_a_regular_file_in_the_folder(here, capfd, location):
    Path("sub").mkdir()
    Path("link").symlink_to("../secret")
    Path("sub/link").symlink_to("/etc/passwd")
    Path("loop").symlink_to("loop")
    os.mkfifo("fifo")
    model = onnx.load("model.onnx")
    put(model, "initializer", tensor("secret", location))
    Path("other.onnx").write_bytes(model.SerializeToString())
    assert "expected a file in the folder of the model" in refuses_tensor(capfd)


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": 960},
        {"offset": -1},
        {"offset": 0, "length": 1000},
        {"length": 47},
        {"length": -48},
        {"offset": 10**30},
        {"offset": "zero"},
        {"offset": "1_0"},
    ],
)
def test_external_data_ends_in_its_file(here, capfd, entries):
    Path("data").write_bytes(bytes(1000))
    model = onnx.load("model.onnx")
    put(model, "initializer", tensor("secret", "data", **entries))
    Path("other.onnx").write_bytes(model.SerializeToString())
    assert "expected 48 of the 1000 bytes of that file" in refuses_tensor(capfd)


def test_a_location_given_twice_is_refused(here, capfd):
    Path("data").write_bytes(bytes(1000))
    model, twice = onnx.load("model.onnx"), tensor("secret", "../secret")
    twice.external_data.add(key="location", value="data")
    put(model, "initializer", twice)
    Path("other.onnx").write_bytes(model.SerializeToString())
    refuses_tensor(capfd)


def test_external_data_in_the_folder_is_read(here, capsys):
    expected = call(capsys)
    model = onnx.load("model.onnx")
    (weights,) = model.graph.initializer
    Path("sub").mkdir()
    Path("sub/data").write_bytes(bytes(8) + weights.raw_data)
    outside = tensor("weights", "sub/data", offset=8, length=48)
    del model.graph.initializer[:]
    model.graph.initializer.append(outside)
    Path("model.onnx").write_bytes(model.SerializeToString())
    assert table_of(call(capsys)) == table_of(expected)


def table_of(output: str) -> list[str]:
    return re.findall(r"^ +\d.*%$", output, re.MULTILINE)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: setattr(one, "raw_data", one.raw_data[:-4]),
        lambda one: setattr(one, "raw_data", one.raw_data + bytes(4)),
        lambda one: one.dims.__setitem__(0, 400_000),
        lambda one: one.dims.__setitem__(0, -4),
        lambda one: one.ClearField("raw_data"),
        lambda one: (one.ClearField("raw_data"), one.float_data.extend([1.0] * 11)),
        lambda one: setattr(one, "data_type", TensorProto.DOUBLE),
    ],
)
def test_a_tensor_of_another_size_than_it_claims_is_refused(here, capfd, change):
    """OpenCV reads beyond its end: other answers each time, or a crash."""
    model = onnx.load("model.onnx")
    model.graph.initializer[0].name = "secret"
    model.graph.node[1].input[1] = "secret"
    change(model.graph.initializer[0])
    Path("other.onnx").write_bytes(model.SerializeToString())
    assert "bytes; expected" in refuses_tensor(capfd)


@pytest.mark.parametrize(
    "name", ["float32", "float64", "int32", "int64", "uint8", "bool", "float16"]
)
@pytest.mark.parametrize("raw", [True, False])
def test_a_tensor_of_any_type_may_be_stored_in_either_way(here, name, raw):
    values = np.arange(-3, 5).reshape(2, 4).astype(name)
    made = numpy_helper.from_array(values, "values")
    if not raw:
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        made = helper.make_tensor("values", kind, values.shape, values.reshape(-1).tolist())
    model = onnx.load("model.onnx")
    model.graph.initializer.append(made)
    onnx.save(model, "model.onnx")
    assert run_onnx.read_model(Path("model.onnx")).outputs == ["logits"]


def test_a_second_graph_is_refused(here, capfd):
    """Parsers merge them."""
    data = Path("model.onnx").read_bytes()
    Path("other.onnx").write_bytes(data + data)
    assert "it has 2 graphs" in refusal(capfd, "--model", "other.onnx")


# Outputs


@pytest.fixture
def two(here) -> Path:
    """model.onnx has the outputs `first`, 4 classes, and `second`, 5 classes."""
    model = onnx.load("model.onnx")
    more = np.float32([*COLORS, [1, 1, 1]])[:, :, None, None]
    model.graph.initializer.append(numpy_helper.from_array(more, "more"))
    for name, weights in (("second", "more"), ("first", "weights")):
        conv = helper.make_node("Conv", ["means", weights], [f"{name}-"], kernel_shape=[1, 1])
        model.graph.node.extend([conv, helper.make_node("Flatten", [f"{name}-"], [name])])
    outputs = [("first", 4), ("second", 5)]
    values = [helper.make_tensor_value_info(name, 1, [1, classes]) for name, classes in outputs]
    del model.graph.node[1:3], model.graph.output[:]
    model.graph.output.extend(values)
    onnx.save(model, "model.onnx")
    return here


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
def test_one_of_several_outputs_is_named_and_another_can_be_taken(two, capsys, engine):
    output = call(capsys, "--engine", engine)
    assert "output first of first, second (--output-name takes another)\n" in output
    assert "output (1, 4), " in output
    assert "output (1, 5), " in call(capsys, "--engine", engine, "--output-name", "second")


def test_an_output_that_is_not_there_is_refused(two, capfd):
    errors = refusal(capfd, "--output-name", "third")
    assert "--output-name: found 'third'; model.onnx has first, second" in errors
    model = onnx.load("model.onnx")
    del model.graph.output[:]
    onnx.save(model, "model.onnx")
    assert "found no output" in refusal(capfd)


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
def test_operators_of_another_domain_are_refused(here, capfd, engine):
    model = onnx.load("model.onnx")
    model.graph.node[1].domain = "my.org"
    model.opset_import.add(domain="my.org", version=1)
    onnx.save(model, "model.onnx")
    assert "OpenCV cannot read it as an ONNX model" in refusal(capfd, "--engine", engine)


# Answers that are none


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_no_number_is_no_answer(here, capsys, task, value):
    write_model("model.onnx", task, weights=[[1, 1, 1], [1, 1, value]])
    with pytest.raises(SystemExit) as end:
        run_onnx.run([*BASE, "--save", "one.npz"])
    output, errors = capsys.readouterr()
    assert end.value.code == 1 and "%" not in output
    assert re.fullmatch(r"error: image: no answer: the output of model.onnx holds \w+\n", errors)
    assert Path("one.npz").exists()  # the arrays themselves tell why
    with pytest.raises(SystemExit) as end:
        run_onnx.run(BASE)
    assert end.value.code == 1 and not Path("out").exists()


# Names and flags


@pytest.mark.parametrize("name", ["a\nb.png", "\x1b[2Ja.png", "-a.png", "ä 松.png", "a\u202eb.png"])
def test_a_name_is_one_printable_line(here, capfd, name):
    shutil.copy("image.png", name)
    output = call(capfd, f"--input={name}")
    assert all(line.isprintable() for line in output.splitlines())
    assert output.count("\n") == call(capfd).count("\n")
    assert Path("out", f"model-{name}").exists()
    Path(name).write_text("no image")
    assert refusal(capfd, f"--input={name}").strip().isprintable()


def test_class_names_cannot_steer_the_terminal(here, capsys):
    metadata = {"classes": '["\\u001b[2J", "a\\nb", "c", "d"]'}
    write_model("model.onnx", "classification", metadata=metadata)
    assert all(line.isprintable() for line in call(capsys).splitlines())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_is_no_traceback(here, monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    write_image(here / "松.png")
    ended = process(SCRIPT, *BASE, "--input", "松.png")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--scale 1e300", "--scale: "),
        ("--scale 1e999999999", "--scale: "),
        ("--scale 1e-999999999", "--scale: "),
        ("--mean 1e999999999 0 0", "--mean: "),
        (f"--std 1 1 1/{'9' * 9999}", "--std: "),
        ("--input=", "--input: invalid"),
        ("--output=", "--output: invalid"),
        ("--model=", "--model: invalid"),
        ("--save=", "--save: invalid"),
        ("--input . --output .", "--output: found ., the folder of --input"),
        ("--input . --output ../here", "--output: found ../here, the folder of --input"),
        ("--resize 64 --rsz-height 32", "--resize: found --rsz-height or --rsz-width too"),
        ("--save a.npz --show", "--save: found --show too"),
        ("--threads -1", "--threads: found -1; expected 0 to 1024"),
        ("--threads 999999999", "--threads: found 999999999; expected"),
        ("--crop --height 0 --width 0", "--crop: found no size to crop to"),
        ("--exif turn", "--exif: invalid choice: 'turn'"),
    ],
)
def test_flags_that_make_no_sense_are_refused_at_once(here, capfd, args, expected):
    assert expected in refusal(capfd, *args.split())


@pytest.mark.parametrize("threads", [-1, 10**20, "many", 1.5, [1]])
def test_threads_of_params_yaml_are_a_number_of_threads(here, capfd, threads):
    Path("params.yaml").write_text(json.dumps({"opencv": {"threads": threads}}))
    assert f"params.yaml: opencv.threads: found {threads!r}" in refusal(capfd)


@pytest.mark.parametrize("entry", ["[" * 100_000, "9" * 5000, '{"mean": NaN}', "\x00"])
@pytest.mark.parametrize("key", ["preprocess", "classes"])
def test_metadata_of_another_program_are_passed_over(here, capsys, key, entry):
    write_model("model.onnx", "classification", metadata={key: entry})
    assert "class 0" in call(capsys)


def test_metadata_of_another_number_of_classes_are_named(here, capfd):
    write_model("model.onnx", "classification", metadata={"classes": '["a", "b"]'})
    assert "found 2 classes in the metadata (--classes names a file)" in refusal(capfd)
    Path("names.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\nc\r\nd\r\n")
    assert " a " in call(capfd, "--classes", "names.txt")
