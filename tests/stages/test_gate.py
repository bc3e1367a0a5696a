"""The stage `gate`: what it records, how `--check` ends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.checkout import ROOT, stage_process
from helpers.lock import locked_entry, write_lock
from helpers.params import write_params
from helpers.refusals import refused
from helpers.results import ENGINE, every_pair, faithful, on_another_machine, write_models

from stages import gate

GOOD = faithful(model="good")
BROKEN = faithful(model="broken", parity={ENGINE: {"rel": 0.5}})
VACUOUS = faithful(model="dead", parity=every_pair(spread=None))


def exit_code(*argv: str) -> int:
    try:
        gate.main(list(argv))
    except SystemExit as end:
        return end.code
    return 0


def recorded() -> dict:
    return json.loads(Path("metrics/gate.json").read_text())


def overview() -> dict:
    return json.loads(Path("metrics/overview.json").read_text())


def lock() -> None:
    """Write the dvc.lock that DVC writes after the stage."""
    outs = ["metrics/gate.json", "metrics/overview.json"]
    write_lock({"gate": locked_entry(outs, ("data/results",), ("models", "gate"))})


@pytest.mark.parametrize(
    ("models", "verdict", "code"),
    [([GOOD], "pass", 0), ([GOOD, BROKEN, VACUOUS], "FAIL", 1), ([GOOD, VACUOUS], "vacuous", 1)],
    ids=["pass", "fail", "vacuous"],
)
def test_the_stage_ends_well_whatever_the_verdict_and_the_check_does_not(
    project, capsys, models, verdict, code
):
    """`dvc exp run` keeps the experiment that does not pass."""
    write_models(*models)
    assert exit_code() == 0
    assert recorded()["verdict"] == verdict
    printed = capsys.readouterr().out
    lock()
    assert exit_code("--check") == code
    assert capsys.readouterr().out == printed


def test_the_verdicts_are_recorded_with_their_reasons_and_in_an_overview(project, capsys):
    write_models(GOOD, BROKEN)
    exit_code()
    models = recorded()["models"]
    assert list(models) == list(overview()) == ["good", "broken"]
    assert models["good"] == {
        "verdict": "pass",
        "owner": "-",
        "exactness": 1.0,
        "rel": 1e-6,
        "agreement": 100.0,
        "accuracy_loss": 0.0,
        "limits": {"rel": 1e-3, "agreement": 99.9, "accuracy_loss": 0.1, "exactness": 10.0},
        "failures": [],
        "ties": [],
        "vacuous": None,
    }
    assert models["broken"]["failures"] == [
        {
            "owner": "engine",
            "subject": ENGINE,
            "figure": "rel",
            "found": 0.5,
            "limit": 1e-3,
            "words": "OpenCV against ONNX Runtime: rel 0.5, limit 0.001",
        }
    ]
    assert overview()["broken"]["verdict"] == "FAIL"
    assert "1 of 2 models pass; 1 fail: broken" in capsys.readouterr().out


def test_a_quick_verdict_is_marked_wherever_it_is(project, capsys):
    write_models(GOOD)
    assert exit_code("--quick") == 0
    assert recorded()["quick"] is True and overview()["good"]["quick"] is True
    lock()
    printed = capsys.readouterr().out
    assert "Quick run: " in printed and exit_code("--check") == 0
    assert capsys.readouterr().out == printed
    exit_code()
    assert "quick" not in recorded() and "quick" not in overview()["good"]


def test_times_of_another_machine_are_not_in_the_overview(project):
    write_models(on_another_machine(GOOD))
    exit_code()
    assert overview()["good"]["ms"] == {}


def test_the_check_judges_nothing_and_needs_no_numpy(project):
    write_models(GOOD)
    gate.main([])
    lock()
    done = "import sys; from stages import gate; gate.main(['--check']); "
    done += "print([name for name in ('numpy', 'torch', 'cv2') if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", done], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert found.stdout.splitlines()[-2:] == ["1 of 1 models pass", "[]"], found.stderr


def test_without_a_verdict_the_check_says_what_writes_it(project):
    process = stage_process("gate", "--check", cwd=project)
    _, errors = process.communicate()
    assert (process.returncode, errors.count("\n")) == (2, 1)
    assert "metrics/gate.json: no such file; `make`" in errors


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: write_models(GOOD), "params.yaml: models has changed"),
        (lambda: write_params(Path(), {"gate.spread": 0.5}), "params.yaml: gate has changed"),
        (lambda: record({"verdict": "pass", "models": {}}), "is not what gate wrote"),
        (lambda: Path("dvc.lock").unlink(), "dvc.lock knows no stage that wrote it"),
    ],
    ids=["models", "limits", "a verdict from elsewhere", "no run"],
)
def test_a_verdict_of_another_run_is_not_taken_for_this_ones(project, capsys, change, reason):
    write_models(GOOD, BROKEN)
    exit_code()
    lock()
    tomorrow = (time.time() + 86400,) * 2
    os.utime("metrics/gate.json", tomorrow)
    assert exit_code("--check") == 1
    change()
    os.utime("metrics/gate.json", tomorrow)
    capsys.readouterr()
    with refused("metrics/gate.json: not of the present inputs: ", reason, "`make`"):
        gate.main(["--check"])
    assert not capsys.readouterr().out


def record(content: dict) -> None:
    Path("metrics/gate.json").write_text(json.dumps(content))
