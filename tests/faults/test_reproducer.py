import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.checkout import ROOT
from helpers.faulty import parse, unstable
from helpers.refusals import refused
from onnx import ModelProto

from parity.faults.reproducer import (
    Reproducer,
    Suspect,
    check_target,
    find_symptom,
    publish,
    write_reproducer,
)
from parity.faults.settings import FILE_OPENCV, on_cpu
from parity.faults.workaround import Outcome
from parity.graphs.graph import save

SHAPES = "float[1, 2, 8, 8] input", "float[1, 2, 8, 8] output"
OUTCOME = Outcome("unchanged", "1 MB", "auto", 0, "", rel=1.0, agreement=50.0, failure="rel 1")

needs_glibc = pytest.mark.skipif(sys.platform != "linux", reason="MALLOC_PERTURB_ is glibc's")


def suspect_of(
    model: ModelProto, folder: Path, engine: str, perturb: tuple[int, ...] = (1, 165)
) -> Suspect:
    save(model, folder / "given.onnx")
    blob = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
    return Suspect(
        name="given",
        path=folder / "given.onnx",
        feeds={"input": blob},
        source="blob.npy",
        opencv=on_cpu(FILE_OPENCV, engine),
        perturb=perturb,
        limit=1e-4,
        minutes=1,
        folder=folder / "out",
    )


def reproduce(suspect: Suspect, ms: float = 1.0) -> Reproducer:
    symptom, engine = find_symptom(suspect)
    return write_reproducer(suspect, symptom, engine, [replace(OUTCOME, ms=ms)])


@dataclass
class Run:
    code: int
    text: str


def run_script(folder: Path, elsewhere: Path) -> Run:
    """Run the reproducing script from another folder, without this project on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, folder / "reproduce.py"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Run(ended.returncode, ended.stdout + ended.stderr)


def operators(folder: Path) -> list[str]:
    return [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]


def unsupported() -> ModelProto:
    body = "a = Relu (input) b = GlobalLpPool (a) c = Sigmoid (b) output = Add (c, c)"
    return parse(body, SHAPES[0], "float[1, 2, 1, 1] output")


@pytest.mark.process
@pytest.mark.parametrize("engine", ["classic", "new"])
def test_an_operator_that_is_not_supported_remains_alone(tmp_path, engine):
    assert reproduce(suspect_of(unsupported(), tmp_path, engine)).is_new
    assert operators(tmp_path / "out") == ["GlobalLpPool"]
    run = run_script(tmp_path / "out", tmp_path)
    assert run.code == 1 and "GlobalLpPool" in run.text


@pytest.mark.parametrize("names", [["mine.txt"], ["model.onnx"], ["input.npy"], ["REPORT.md"]])
def test_a_folder_of_the_users_is_not_replaced(tmp_path, names):
    check_target(tmp_path / "new")
    check_target(tmp_path)
    for name in names:
        (tmp_path / name).write_text("mine")
    with refused(f"{tmp_path}: found '{names[0]}' there, which would be replaced"):
        check_target(tmp_path)
    with refused(f"{tmp_path / names[0]}: found "):
        check_target(tmp_path / names[0])
    for name in ("REPORT.md", "model.onnx", "expected.npy", "reproduce.py", "input_2.npy"):
        (tmp_path / name).touch()
    if names != ["mine.txt"]:
        check_target(tmp_path)


@pytest.mark.process
def test_the_script_ends_well_where_opencv_is_right(tmp_path):
    """Replace the faulty graph by one that OpenCV runs, and its output by the right one."""
    reproduce(suspect_of(unsupported(), tmp_path, "classic"))
    out, blob = tmp_path / "out", np.load(tmp_path / "out/input.npy")
    (value,) = onnx.load(out / "model.onnx").graph.input
    good = parse(f"output = Relu ({value.name})", "float[1] x", SHAPES[1])
    good.graph.input[0].CopyFrom(value)
    save(good, out / "model.onnx")
    np.save(out / "expected.npy", np.maximum(blob, 0))
    run = run_script(out, tmp_path)
    assert (run.code, "the fault is gone" in run.text) == (0, True)

    np.save(out / "expected.npy", np.maximum(blob, 0) + 1)
    assert run_script(out, tmp_path).code == 1
    np.save(out / "expected.npy", np.concatenate([blob, blob]))
    run = run_script(out, tmp_path)
    assert run.code == 1 and "the shapes differ" in run.text
    (out / "expected.npy").unlink()
    run = run_script(out, tmp_path)
    assert run.code == 2 and "expected.npy: no such file" in run.text


@pytest.mark.process
def test_a_crash_is_shown_in_a_process_of_its_own(tmp_path):
    """GELU as the exporter dynamo writes it, without another node before."""
    body = """
        a = Div (input, root) b = Erf (a) c = Add (b, one) d = Mul (half, c) e = Mul (input, d)
        output = Relu (e)
    """
    weights = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    made = reproduce(suspect_of(parse(body, *SHAPES, **weights), tmp_path, "classic"))
    assert "ended by SIGSEGV" in made.evidence.symptom.text
    assert operators(tmp_path / "out") == ["Div", "Erf", "Add", "Mul", "Mul"]
    run = run_script(tmp_path / "out", tmp_path)
    assert run.code == 1 and "ended by SIGSEGV" in run.text
    assert "the process crashes" in (tmp_path / "out/REPORT.md").read_text()


@pytest.mark.process
@needs_glibc
def test_a_read_of_uninitialized_memory_is_shown_on_a_dirty_heap(tmp_path):
    suspect = suspect_of(unstable(), tmp_path, "new")
    assert "unstable" in reproduce(suspect).evidence.symptom.text
    ops = operators(tmp_path / "out")
    assert len(ops) <= 3 and ops[-1] == "Resize"
    report = (tmp_path / "out/REPORT.md").read_text()
    assert "depends on uninitialized memory" in report and "- classic: right" in report
    run = run_script(tmp_path / "out", tmp_path)
    assert run.code == 1 and "with MALLOC_PERTURB_=1\n" in run.text


@pytest.mark.process
@needs_glibc
def test_only_the_heaps_that_are_asked_for_are_used(tmp_path):
    reproduce(suspect_of(unstable(), tmp_path, "new", perturb=(165,)))
    script = (tmp_path / "out/reproduce.py").read_text()
    assert '\nHEAPS = ["165", "255"]' in script
    run = run_script(tmp_path / "out", tmp_path)
    assert run.code == 1 and "MALLOC_PERTURB_=1\n" not in run.text


FILES = {
    "REPORT.md": "# DNN\n\n### Detailed description\n\nworks: engine new, 6.0 ms an image\n",
    "model.onnx": "model",
    "input.npy": "input",
}


def write_folder(path: Path, **changes: str) -> Path:
    path.mkdir()
    for name, content in (FILES | changes).items():
        (path / name).write_text(content)
    return path


def contents(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()}


def test_a_folder_with_the_same_finding_is_left_untouched(tmp_path):
    target = write_folder(tmp_path / "target")
    times = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    report = FILES["REPORT.md"].replace("6.0 ms", "123.4 ms")
    assert not publish(write_folder(tmp_path / "new", **{"REPORT.md": report}), target)
    assert contents(target) == FILES
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == times


@pytest.mark.parametrize("name", [*FILES, "another file"])
def test_a_folder_with_another_finding_is_replaced(tmp_path, name):
    target = write_folder(tmp_path / "target", **{name: "old"})
    assert publish(write_folder(tmp_path / "new"), target)
    assert contents(target) == FILES
    assert publish(tmp_path / "new", tmp_path / "missing/folder")
    assert contents(tmp_path / "missing/folder") == FILES


@pytest.mark.process
def test_a_model_that_is_right_has_no_symptom(tmp_path):
    model = parse("output = Relu (input)", *SHAPES)
    assert find_symptom(suspect_of(model, tmp_path, "auto")) is None


@pytest.mark.process
def test_auto_stands_for_the_engine_that_is_wrong(tmp_path):
    symptom, engine = find_symptom(suspect_of(unsupported(), tmp_path, "auto"))
    assert symptom.kind == "refused" and engine in ("classic", "new")


@pytest.mark.process
@needs_glibc
@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in ROOT.glob("reproducers/*/REPORT.md")),
    ids=lambda f: f.name,
)
def test_what_the_readme_shows_is_still_wrong_and_small(folder, tmp_path):
    # Where a newer OpenCV fixes it, the README's story has ended.
    assert run_script(folder, tmp_path).code == 1
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
