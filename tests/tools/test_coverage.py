"""`make coverage`: its flags, and how a run ends that is interrupted."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from helpers.checkout import stage_process
from helpers.coverage import CELLS, RIGHT, cell_times
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.params import load_params
from parity.coverage import run
from parity.coverage.measure import WORK
from parity.coverage.opencv_versions import installed_version
from tools import coverage


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--models", "resnet51"], "MODELS: found 'resnet51'; did you mean resnet"),
        (["--exporters", "onnx"], "EXPORTERS: found 'onnx'; expected one of dynamo, torchscript"),
        (
            ["--engines", "fast"],
            f"ENGINES, OpenCV {installed_version()}: found 'fast'; expected one of auto, classic",
        ),
        (["--jobs", "0"], "JOBS: found '0'; expected an integer of at least 1"),
        (["--jobs", "two"], "JOBS: found 'two'"),
        (["--opencv", "five"], "OPENCV: found 'five'; expected a version"),
    ],
)
def test_misuse_is_refused_in_one_line(project, args, expected):
    with refused(expected):
        coverage.main(args)


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--jobs=two", "JOBS: found 'two'"),
        ("--models=resnet51", "MODELS: found 'resnet51'"),
        ("--exporters=onnx", "EXPORTERS: found 'onnx'"),
        ("--opencv=4.14.0.94 five", "OPENCV: found 'five'"),
    ],
)
def test_no_opencv_is_installed_before_the_other_flags_are_checked(
    project, monkeypatch, flag, expected
):
    monkeypatch.setattr(run, "provide", lambda _: pytest.fail("too early"))
    with refused(expected):
        coverage.main(["--opencv=4.14.0.94", flag])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("time_limit", 1e12, "found 1000000000000.0; expected less than or equal to 86400"),
        ("memory_limit", 1e300, "found 1e+300; expected less than or equal to 1024"),
        ("sizes.classification", ["64x64", "96x96"], "expected a single size"),
    ],
)
def test_what_no_process_can_do_is_refused(project, key, value, expected):
    write_params(project, {f"coverage.{key}": value})
    with refused(f"params.yaml: coverage.{key}: ", expected):
        load_params()


@pytest.mark.process
def test_a_run_that_was_interrupted_resumes(project):
    args = ["--models", RIGHT, "--exporters", "torchscript", "--jobs", "1"]
    process = stage_process("coverage", *args, cwd=project, start_new_session=True)
    try:
        wait_for(lambda: list((project / CELLS).glob("*/*.json")), process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    assert not psutil.wait_procs(children, 10)[1]
    (first,) = before = cell_times()
    coverage.main(args)
    assert len(cell_times()) == 2 and cell_times()[first] == before[first]
    assert Path("data/coverage/narrowed/COVERAGE.md").exists()
    assert not Path("COVERAGE.md").exists()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_large_files(project, number):
    args = ["--models", f"{RIGHT} squeezenet1_0", "--exporters", "torchscript", "--jobs", "2"]
    process = stage_process("coverage", *args, cwd=project, start_new_session=True)
    work = project / WORK
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
