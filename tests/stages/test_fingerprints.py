"""The stage `fingerprints`: what it writes, and which change outside of the pipeline it sees."""

import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.fingerprints import changed_outside
from helpers.params import own, write_params

from parity.core.files import read_json, write_json
from parity.core.machine import this_machine
from parity.core.paths import FINGERPRINTS
from stages import fetch, fingerprints, weights


def content_of(name: str) -> dict:
    return read_json(FINGERPRINTS / f"{name}.json")


def touch(path: Path) -> None:
    """Change the time of a file by a nanosecond."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_every_stage_has_a_file_with_its_code_and_libraries(project):
    fingerprints.main([])
    scripts = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")} - {"fingerprints"}
    written = {path.stem for path in FINGERPRINTS.glob("*.json")}
    assert written == scripts | {"machine", "findings"}
    for stage in scripts:
        content = content_of(stage)
        assert content.keys() == {"code", "libraries"}
        assert f"stages.{stage}:main" in content["code"]
    assert content_of("machine") == this_machine()


@pytest.mark.parametrize(
    ("stage", "uses", "leaves"),
    [
        ("infer_opencv", {"opencv-python", "numpy"}, {"torch", "onnxruntime"}),
        ("infer_onnxruntime", {"onnxruntime", "numpy"}, {"torch"}),
        ("infer_exact", {"torch", "onnx", "scipy", "numpy"}, {"onnxruntime"}),
        ("infer_pytorch", {"torch", "torchvision", "numpy"}, {"onnxruntime"}),
        ("export_onnx", {"torch", "onnx", "onnxscript"}, {"opencv-python", "onnxruntime"}),
        ("stability", {"opencv-python"}, {"torch", "onnxruntime"}),
        ("benchmark", {"opencv-python", "onnxruntime", "torch", "scipy"}, {"matplotlib"}),
        ("plot", {"matplotlib", "numpy"}, {"torch", "opencv-python", "onnxruntime"}),
        ("gate", set(), {"numpy", "matplotlib"}),
        ("details", {"numpy", "pillow"}, {"torch", "opencv-python", "jinja2"}),
        ("report", {"jinja2", "vl-convert-python", "onnx"}, {"torch", "opencv-python"}),
    ],
)
def test_a_stage_depends_on_the_versions_of_the_libraries_that_it_uses(
    project, stage, uses, leaves
):
    """An upgrade of OpenCV, say, leaves the long run of PyTorch alone and repeats `stability`."""
    fingerprints.main([])
    libraries = content_of(stage)["libraries"]
    assert libraries == {name: version(name) for name in libraries}
    assert uses <= libraries.keys() and not leaves & libraries.keys()


def test_a_second_run_writes_the_same_bytes_and_says_nothing(project, capsys):
    fingerprints.main([])
    before = {path: path.read_bytes() for path in FINGERPRINTS.rglob("*.json")}
    capsys.readouterr()
    fingerprints.main([])
    assert {path: path.read_bytes() for path in FINGERPRINTS.rglob("*.json")} == before
    assert capsys.readouterr() == ("", "")


def test_what_changed_is_named(project, capsys):
    fingerprints.main([])
    content = content_of("evaluate")
    content["code"]["parity.evaluation.scores:ranks"] = "another"
    content["libraries"]["numpy"] = "1.0"
    write_json(FINGERPRINTS / "evaluate.json", content)
    write_json(FINGERPRINTS / "machine.json", this_machine() | {"cpu": "another"})
    capsys.readouterr()
    fingerprints.main([])
    assert capsys.readouterr().err.splitlines() == [
        "evaluate changed: numpy, parity.evaluation.scores:ranks",
        "machine changed: cpu",
    ]


# Files outside of the pipeline


def test_before_anything_ran_nothing_has_changed(project):
    assert changed_outside() == []


@pytest.mark.parametrize("file", ["val.txt", "labels.txt", "images/b.png"])
def test_a_changed_file_of_a_dataset_is_noticed(mine, file):
    assert changed_outside() == []
    fetch.main(["textures"])
    assert changed_outside() == []
    touch(mine / file)
    assert changed_outside() == ["datasets/textures"]
    fetch.main(["textures"])
    assert changed_outside() == []
    (mine / file).unlink()
    assert changed_outside() == ["datasets/textures"]


def test_a_change_keeps_its_fingerprint_until_the_next_change(mine):
    """DVC takes any other content for a change, also that of a file which came back."""
    contents = []
    for change in (False, True, False, True):
        if change:
            touch(mine / "val.txt")
        fingerprints.main([])
        contents.append(content_of("datasets/textures"))
        fetch.main(["textures"])
    assert contents[0] != contents[1] == contents[2] != contents[3]
    fingerprints.main([])
    assert content_of("datasets/textures") == contents[3]


def test_a_changed_list_elsewhere_is_noticed(mine):
    (mine.parent / "list.txt").write_text("a.png 0\n")
    write_params(mine.parent, own(classes="labels.txt", split="list.txt"))
    fetch.main(["textures"])
    assert changed_outside() == []
    (mine.parent / "list.txt").write_text("a.png 0\nb.png 1\n")
    assert changed_outside() == ["datasets/textures"]


def test_a_changed_checkpoint_is_noticed(prepared):
    weights.main(["squeezenet1_1"])
    assert changed_outside() == []
    shutil.copy("models/squeezenet1_1/weights.pth", "mine.pth")
    write_params(prepared, {"models.squeezenet1_1.weights": "mine.pth"})
    weights.main(["squeezenet1_1"])
    assert changed_outside() == []
    touch(Path("mine.pth"))
    assert changed_outside() == ["models/squeezenet1_1"]


@pytest.mark.parametrize(
    "name", ["reproducers/squeezenet1_1/REPORT.md", "data/devices/squeezenet1_1.json"]
)
def test_what_a_tool_found_about_a_model_has_a_mark_of_its_own(project, name):
    fingerprints.main([])
    assert content_of("findings") == {}
    path = Path(name)
    path.parent.mkdir(parents=True)
    marks = []
    for text in ("one", "two"):
        path.write_text(text)
        fingerprints.main([])
        marks.append(content_of("findings")[str(path)])
    assert marks[0] != marks[1]
