"""Whole runs that meet files of the user's, or fail: nothing that was there is lost."""

import re
from pathlib import Path

import pytest
from helpers.dvc_runs import CLS, SEG, digests, dvc, edit, make

pytestmark = pytest.mark.pipeline

MODEL = f"models/{CLS}/model.onnx"
RESULTS = ("models", "data/predictions", "data/textures", "metrics")
KILL = "import os; os.kill(os.getpid(), 9)"
FAIL = "raise SystemExit(2)"


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")


def error_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    ("changes", "key", "command"),
    [
        ({"datasets.textures.source": "data/textures"}, "datasets.textures.source", []),
        ({"datasets.textures.source": "link"}, "datasets.textures.source", ["fetch@textures"]),
        ({"datasets.textures.source": "."}, "datasets.textures.source", ["fetch@textures"]),
        ({f"models.{CLS}.weights": f"models/{SEG}/weights.pth"}, f"models.{CLS}.weights", []),
        (
            {f"models.{CLS}": {"task": "classification", "preprocess": "imagenet", "onnx": MODEL}},
            f"models.{CLS}.onnx",
            [f"export_onnx@{CLS}"],
        ),
    ],
)
def test_an_input_in_an_output_is_refused_before_anything_changes(copy, changes, key, command):
    write(copy / "data/mine/a.png")
    (copy / "link").symlink_to("data/predictions")
    edit(copy, changes)
    before = digests(copy, *RESULTS)
    done = dvc(copy, "repro", *command, ok=False)
    assert done.code and done.stages == [] and digests(copy, *RESULTS) == before
    (line,) = error_lines(done.output)
    assert line.startswith(f"error: params.yaml: {key}: found ")


def test_a_file_that_a_stage_would_replace_is_refused_until_it_is_moved(copy):
    added = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    edit(copy, {"models.squeezenet1_0": added})
    mine = ["models/squeezenet1_0/weights.pth", "data/textures/val/a.png", f"plots/models/{CLS}/a"]
    for name in mine:
        write(copy / name)
    done = make(copy)
    (line,) = error_lines(done.output)
    assert done.code and line.startswith(f"error: {mine[1]} (and 2 more): the pipeline did not")
    assert all((copy / name).read_bytes() == b"mine" for name in mine)
    for name in mine:
        (copy / name).rename(copy / name.replace("/", "-"))
    assert dvc(copy, "repro", "weights@squeezenet1_0").code == 0


@pytest.mark.parametrize(
    ("stage", "end", "run"),
    [
        ("export_onnx", FAIL, dvc),
        ("export_onnx", KILL, make),
        ("infer_opencv", FAIL, dvc),
        ("infer_opencv", KILL, make),
        ("infer_pytorch", FAIL, make),
    ],
)
def test_a_stage_that_fails_leaves_the_last_good_output(copy, stage, end, run):
    before = digests(copy, *RESULTS)
    script = copy / f"stages/{stage}.py"
    text = script.read_text(encoding="utf-8")
    failing, changes = re.subn(r"(    \w+ = .*load_params\(\))", rf"    {end}\n\1", text, count=1)
    assert changes
    script.write_text(failing, encoding="utf-8")
    done = make(copy) if run is make else dvc(copy, "repro", ok=False)
    assert done.code and done.stages == [f"{stage}@{CLS}"]
    assert digests(copy, *RESULTS) == before
    script.write_text(text, encoding="utf-8")
    assert dvc(copy, "repro").stages == []


def test_clean_leaves_the_users_files_and_the_next_make_restores_the_rest(copy):
    before = digests(copy, "models", "data", "plots", "metrics")
    mine = ("data/photos/a.jpg", "models/mine.pth", f"models/{CLS}/notes.txt", "plots/mine.png")
    for name in mine:
        write(copy / name)
    done = make(copy, "clean")
    assert done.code == 0 and not (copy / MODEL).exists() and not (copy / "data/textures").exists()
    assert all(f"{name}: kept" in done.output for name in mine)
    done = make(copy)
    assert (done.code, done.stages) == (0, [])
    after = digests(copy, "models", "data", "plots", "metrics")
    assert after == before | {name: after[name] for name in mine}
    assert all((copy / name).read_bytes() == b"mine" for name in mine)
