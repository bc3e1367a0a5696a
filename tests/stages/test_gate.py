"""The stage `gate`: what it records, how `--check` ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.checkout import ROOT, stage_process
from helpers.results import ENGINE, every_pair, faithful, write_models

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


def test_the_check_judges_nothing_and_needs_no_numpy(project):
    write_models(GOOD)
    gate.main([])
    (project / "params.yaml").unlink()
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
