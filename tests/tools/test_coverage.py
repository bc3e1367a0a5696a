"""How `make coverage` runs: alone, within its limits, and without verdicts on other faults."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from helpers import loaders
from helpers.checkout import stage_process
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.cli import InputError
from parity.core.files import locked
from parity.core.params import load_params
from parity.coverage import measure as coverage_model
from parity.coverage.cells import Cell, Verdict, judge
from parity.coverage.measure import (
    Answers,
    File,
    Group,
    Job,
    LimitedForward,
    figures_of,
    run_model,
)
from parity.coverage.memory import ran_out, told_apart
from parity.coverage.opencv_versions import installed_version
from tools import coverage

MODEL = "squeezenet1_1"
ONE = ["--models", MODEL, "--exporters", "dynamo", "--engines", "new", "--jobs", "1"]
FOLDER = Path("data/coverage")


def cells() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("cells/*/*.json"))]


def measure() -> tuple[dict, Verdict]:
    """Measure one cell in this process, with a plain run alone; returns it and what it means."""
    params = load_params()
    cell = Cell(MODEL, "classification", "dynamo", 18, "new", installed_version())
    run_model(Job([cell], {cell.opencv: None}, {}, params, "1/1"))
    (content,) = cells()
    return content, judge(content, params)


def wait_for(found, process: subprocess.Popen) -> None:
    while not found():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture
def tiny(project, monkeypatch):
    """A project in which PyTorch's part of each model is a tiny classifier. Call it to put other
    functions of `loaders` into parity.coverage.measure."""

    def put(**names):
        for name, function in names.items():
            monkeypatch.setattr(coverage_model, name, function)

    put(make_reference=loaders.tiny_reference, export_model=loaders.tiny_export)
    return put


# Alone


def test_a_second_run_ends_at_once_and_leaves_the_first_its_files(project):
    file = project / FOLDER / f"work/.{MODEL}.1.partial/weights.pth"
    file.parent.mkdir(parents=True)
    file.touch()
    with (
        locked(FOLDER, "never"),
        refused("data/coverage: another `make coverage` is running"),
    ):
        coverage.main(ONE)
    assert file.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_of_several_processes_that_is_ended_leaves_none_and_no_large_files(project, number):
    args = ["--models", f"{MODEL} squeezenet1_0", "--exporters", "torchscript", "--jobs", "2"]
    process = stage_process("coverage", *args, cwd=project, start_new_session=True)
    work = project / coverage_model.WORK
    try:
        main = psutil.Process(process.pid)
        wait_for(lambda: len(list(work.glob("*/"))) == 2, process)
        wait_for(lambda: len(main.children(recursive=True)) >= 4, process)
        children = main.children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) == 130
        assert process.stderr.read().endswith("interrupted\n")
    finally:
        process.kill()
        process.communicate()
    assert not psutil.wait_procs(children, 10)[1]
    assert not work.exists()


def test_a_process_of_the_run_that_is_killed_is_one_line(project, monkeypatch):
    def die(*_):
        raise ChildProcessError("signal 9")

    monkeypatch.setattr(coverage, "in_processes", die)
    with refused("a process that measured has ended: signal 9; the next run goes on"):
        coverage.run_all([], 2)


# Before anything is measured


def test_a_folder_without_an_opencv_is_not_measured(project):
    folder = project / FOLDER / "opencv-1.2.3"
    folder.mkdir(parents=True)
    with refused(f"OPENCV: 1.2.3 cannot be loaded: there is none in {folder}; remove this folder"):
        coverage.main([*ONE[:4], "--opencv=1.2.3"])
    assert not cells()


@pytest.mark.parametrize("found", ["1.2.30", "5.0.0"])
def test_a_folder_with_another_opencv_is_not_measured(project, found):
    folder = project / FOLDER / "opencv-1.2.3"
    folder.mkdir(parents=True)
    (folder / "cv2.py").write_text(
        f"__version__ = {found!r}\nclass error: pass\nclass dnn: pass\n"
        "def getBuildInformation(): return ''\n"
    )
    here = f"found OpenCV {found} in {folder}; remove this folder"
    with refused(f"OPENCV: 1.2.3 cannot be loaded: {here}"):
        coverage.main([*ONE[:4], "--opencv=1.2.3"])
    assert not cells()


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--jobs=two", "JOBS: found 'two'"),
        ("--models=resnet51", "MODELS: found 'resnet51'"),
        ("--exporters=onnx", "EXPORTERS: found 'onnx'"),
        ("--opencv=4.14.0.94 five", "OPENCV: found 'five'"),
    ],
)
def test_no_opencv_is_installed_before_the_rest_is_right(project, monkeypatch, flag, expected):
    monkeypatch.setattr(coverage, "provide", lambda _: pytest.fail("too early"))
    with refused(expected):
        coverage.main(["--opencv=4.14.0.94", flag])


@pytest.mark.parametrize("name", ["data", "metrics", "plots"])
def test_what_cannot_be_written_is_told_before_anything_is_measured(project, monkeypatch, name):
    monkeypatch.setattr(coverage, "run_all", lambda *_: pytest.fail("too early"))
    Path(name).touch()  # as even root cannot write into it
    with refused(name, ": cannot be written: "):
        coverage.main(ONE)


def test_a_folder_of_which_one_may_only_read_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o555)
    root = not os.geteuid()
    try:
        if root:
            os.seteuid(65534)
        with refused(".: cannot be written: Permission denied"):
            coverage.check_writable(Path())
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("time_limit", 1e12, "found 1000000000000.0; expected less than or equal to 86400"),
        ("memory_limit", 1e300, "found 1e+300; expected less than or equal to 1024"),
        ("sizes.classification", ["64x64", "96x96"], "expected one size alone"),
    ],
)
def test_what_no_process_can_do_is_refused(project, key, value, expected):
    write_params(project, {f"coverage.{key}": value})
    with refused(f"params.yaml: coverage.{key}: ", expected):
        load_params()


# A full disk, and files that are gone


@pytest.mark.parametrize(
    "put",
    [
        {"make_reference": loaders.reference_onto_full_disk},
        {"export_model": loaders.export_onto_full_disk},
    ],
    ids=["reference", "export"],
)
def test_a_full_disk_ends_the_run_and_is_no_verdict(tiny, put):
    tiny(**put)
    left = " MB free, its files removed; the next run goes on"
    with refused("data/coverage: file too large: ", left):
        coverage.main(ONE)
    assert not cells() and not coverage_model.WORK.exists()


@pytest.mark.parametrize(
    ("put", "file"),
    [
        ({"export_model": loaders.export_without_weights}, "weights.pth"),
        ({"load_opencv_of": loaders.load_opencv_without_file}, "dynamo18.onnx"),
    ],
)
def test_a_file_that_is_gone_ends_the_run_and_is_no_verdict(tiny, put, file):
    tiny(**put)
    with pytest.raises(FileNotFoundError, match=file):
        measure()
    assert not cells()


def raising(*errors: Exception) -> None:
    """The last one of all, raised while the ones before were handled."""
    try:
        if errors[:-1]:
            raising(*errors[:-1])
    finally:
        raise errors[-1]


def test_a_failure_of_the_models_is_no_failure_of_the_disk(tmp_path):
    elsewhere = FileNotFoundError(2, "No such file or directory", "/nowhere")
    for below in (elsewhere, OSError("could not get source code"), ValueError("ENOSPC")):
        with pytest.raises(InputError, match="no such operator"):
            told_apart(tmp_path, raising, below, InputError("no such operator"))
    below = FileNotFoundError(2, "No such file or directory", str(tmp_path / "a/b"))
    assert told_apart(tmp_path, raising, below, ValueError(), InputError("no")).errno == 2


# Memory


@pytest.mark.parametrize(
    ("message", "is_of_memory"),
    [
        ("MemoryError", True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 4 GiB for an array", True),
        ("OpenCV cannot read it: std::bad_alloc", True),
        ("error: (-4:Insufficient memory) Failed to allocate 2359296 bytes", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes", True),
        ("cv2.abi3.so: failed to map segment from shared object", True),
        ("unsupported memory format channels_last", False),
        ("the process was ended by SIGKILL, as when memory runs out", False),
        ("did not end within 300 s", False),
    ],
)
def test_missing_memory_is_known_by_its_words(message, is_of_memory):
    assert ran_out(message) == is_of_memory


@pytest.mark.parametrize(
    "below", [MemoryError(), RuntimeError("can't allocate memory"), ValueError("std::bad_alloc")]
)
def test_missing_memory_below_another_failure_is_found(tmp_path, below):
    with refused(type(below).__name__):
        told_apart(tmp_path, raising, below, InputError("cannot be exported: "))


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("load_opencv_of", loaders.load_without_memory),
        ("load_onnxruntime", loaders.load_hungry),
    ],
)
def test_memory_that_runs_out_is_a_failure_that_says_so(tiny, name, load):
    write_params(Path(), {"coverage.memory_limit": 2})
    tiny(**{name: load})
    cell, _ = measure()
    failed = cell["onnxruntime"] if name == "load_onnxruntime" else cell["groups"][0]
    assert failed["failure"]["kind"] == "error"
    assert failed["failure"]["message"].startswith("out of memory, limit 2 GB: ")
    assert bool(cell["groups"][0]["failure"]) == (name == "load_opencv_of")


def test_pytorch_has_the_limit_of_memory_too(tiny):
    write_params(Path(), {"coverage.memory_limit": 2})
    tiny(make_reference=loaders.load_hungry)
    _, verdict = measure()
    assert (verdict.verdict, verdict.owner) == ("refused", "model")
    assert verdict.reason.startswith("PyTorch: out of memory, limit 2 GB: MemoryError: Unable to")


@pytest.mark.parametrize(
    ("load", "key"),
    [
        (loaders.load_running_out_once_dirty, "fresh_failure"),
        (loaders.load_slow_once_dirty, "fresh_failure"),
        (loaders.load_crashing_once_dirty, "unstable"),
    ],
)
def test_a_fresh_process_that_meets_a_limit_does_not_make_an_answer_unstable(project, load, key):
    write_params(project, {"coverage.memory_limit": 2, "coverage.time_limit": 5})
    limits = load_params().coverage
    blob = loaders.patterns(2, 4, 4, seed=0)
    group = Group(blob, 2, 2 * blob[:, :, 0, 0])
    file = File(Path("a.onnx"), None, {group: Answers(group.reference, 1.0)})

    def start(environment):
        return LimitedForward(limits, load, environment=environment)

    found = figures_of(start, [group], file, {"dirty": {"MALLOC_PERTURB_": "1"}})[group]
    assert found["failure"] is None and found["rel_pytorch"] == 0
    other = {"fresh_failure": "unstable", "unstable": "fresh_failure"}[key]
    assert found[key] and found[other] is None
    if key == "fresh_failure":
        kind, words = found[key]["kind"], found[key]["message"]
        assert kind == "timeout" or (kind == "error" and "out of memory, limit 2 GB" in words)


# Files of fixed sizes


def test_where_dynamic_sizes_are_refused_a_file_of_fixed_ones_is_tried_and_its_referee(tiny):
    tiny(
        load_opencv_of=loaders.load_opencv_of_fixed,
        load_onnxruntime=loaders.load_onnxruntime_wrong_of_dynamic,
    )
    cell, verdict = measure()
    assert verdict.verdict == "same" and verdict.fixed
    for group in cell["groups"]:
        assert group["before"] == {"kind": "refused", "message": "dynamic sizes"}
        assert group["failure"] is group["fixed_failure"] is None
        # Of the dynamic file ONNX Runtime's answers are wrong: the engine never ran that one.
        assert group["rel_export"] < 1e-5 and group["rel_onnxruntime"] < 1e-5


@pytest.mark.parametrize(
    ("put", "kind", "message"),
    [
        (
            {
                "load_opencv_of": loaders.load_opencv_of_fixed,
                "export_model": loaders.export_no_fixed,
            },
            "error",
            "cannot be exported: of fixed sizes",
        ),
        ({"load_opencv_of": loaders.load_without_memory}, "error", "out of memory, limit 8 GB: "),
    ],
    ids=["export", "run"],
)
def test_why_a_file_of_fixed_sizes_did_not_help_is_kept(tiny, put, kind, message):
    tiny(**put)
    cell, _ = measure()
    first, second = cell["groups"]
    assert first["failure"] and first["before"] is None and second["fixed_failure"] is None
    assert first["fixed_failure"]["kind"] == kind
    assert first["fixed_failure"]["message"].startswith(message)


# An exporter


def test_a_model_that_the_exporter_refuses_is_a_verdict(project):
    coverage.main([*ONE, "--exporters", "torchscript:26"])
    (cell,) = cells()
    verdict = judge(cell, load_params())
    assert (verdict.verdict, verdict.owner) == ("not exportable", "export")
    assert "cannot be exported (exporter torchscript, opset 26): Unsupported" in verdict.reason
    assert cell["reference"]["failure"] is None and cell["groups"] == []
    assert "not exportable" in Path("COVERAGE.md").read_text(encoding="utf-8")
