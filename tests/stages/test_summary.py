"""The stage `summary`: the table, its pictures and their data, and `--print`."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.lock import locked_entry, write_lock
from helpers.params import write_params
from helpers.refusals import refused
from helpers.results import (
    EXACT,
    NO_EXACT_ANSWER,
    SUM,
    every_pair,
    faithful,
    on_another_machine,
    onnx_only,
    without,
    write_models,
)

from parity.core.files import write_json
from parity.core.machine import identity
from parity.core.paths import benchmark_path
from parity.evaluation.results import write_results
from stages import summary

PICTURES = ("inference_time", "accuracy", "parity", "exactness")


def lock() -> None:
    """Write the dvc.lock that DVC writes after the stage."""
    outs = [str(path) for path in Path("plots").iterdir()]
    write_lock({"summary": locked_entry(outs, ("data/results",), ("models", "gate.spread"))})


def test_the_stage_writes_the_table_the_pictures_and_their_data(project):
    write_models(faithful(model="one"), without("opencv", model="two"))
    summary.main([])
    table = Path("plots/summary.md").read_text()
    assert table.startswith("| model | task ") and "two: OpenCV failed (refused): " in table
    for name in PICTURES:
        assert Path(f"plots/{name}.csv").read_text().startswith("model,")
        assert Path(f"plots/{name}.png").stat().st_size > 5000


def test_a_second_run_writes_the_same_bytes(project):
    write_models(faithful(model="one"), onnx_only())
    summary.main([])
    before = {path: path.read_bytes() for path in Path("plots").iterdir()}
    summary.main([])
    assert {path: path.read_bytes() for path in Path("plots").iterdir()} == before


def test_the_gates_least_spread_makes_an_agreement_vacuous(project):
    write_models(faithful(parity=every_pair(spread=0.02)))
    summary.main([])
    assert "vacuous" not in Path("plots/summary.md").read_text()
    write_params(project, {"gate.spread": 0.05})
    summary.main([])
    assert "| vacuous |" in Path("plots/summary.md").read_text()


def test_the_picture_of_parity_has_the_limit_that_judges_each_model(project):
    write_models(faithful())
    drawn = []
    for exact, override in ((EXACT, {}), (EXACT, {"rel": 0.5}), (NO_EXACT_ANSWER, {})):
        write_results(faithful(exact=exact))
        overrides = {"squeezenet1_1": override} if override else {}
        write_params(project, {"gate.overrides": overrides})
        summary.main([])
        drawn.append(Path("plots/parity.png").read_bytes())
    assert len(set(drawn)) == 3


def rows() -> list[list[str]]:
    lines = Path("plots/summary.md").read_text().splitlines()
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")
    ]


def test_times_of_another_machine_are_not_shown(project):
    write_models(faithful(model="here"), on_another_machine(faithful(model="there")))
    summary.main([])
    _, _, here, there = rows()
    assert here[-4:] == ["4.0", "1.0", "2.0", "0.50 (0.40-0.60)"] and there[-4:] == ["-"] * 4
    assert here[:-4][1:] == there[:-4][1:]
    assert "\nthere: no times: measured on another" in Path("plots/summary.md").read_text()
    assert "there" not in Path("plots/inference_time.csv").read_text()


def test_a_model_that_fails_has_no_ratio(project):
    write_models(faithful(model="right"), faithful(model="wrong", parity={SUM: {"rel": 0.5}}))
    summary.main([])
    _, _, right, wrong = rows()
    assert right[-2:] == ["2.0", "0.50 (0.40-0.60)"] and wrong[-2:] == ["2.0", "-"]
    assert "\nwrong: no ratio of times: wrong answers" in Path("plots/summary.md").read_text()


def test_a_quick_run_has_the_table_alone_and_says_so(project):
    write_models(faithful().without_times("not measured in a quick run"))
    summary.main(["--quick"])
    assert Path("plots/summary.md").read_text().startswith("Quick run: ")
    assert [path.name for path in Path("plots").iterdir()] == ["summary.md"]


def test_a_table_with_times_of_another_machine_is_not_printed(project, capsys):
    write_models(faithful())
    summary.main([])
    lock()
    environment = {"environment": {"identity": identity()}}
    write_json(benchmark_path("squeezenet1_1"), environment)
    summary.main(["--print"])
    write_json(benchmark_path("squeezenet1_1"), {"environment": {"cpu": "a processor"}})
    capsys.readouterr()
    named = "metrics/benchmark/squeezenet1_1.json: measured on another machine; `make` "
    with refused(named):
        summary.main(["--print"])
    assert not capsys.readouterr().out


def test_print_shows_the_last_table_and_its_pictures_without_numpy(project):
    write_models(faithful())
    summary.main([])
    lock()
    picture = Path("plots/models/squeezenet1_1/confusion.png")
    picture.parent.mkdir(parents=True)
    picture.touch()
    done = "import sys; from stages import summary; summary.main(['--print']); "
    done += "print([name for name in ('numpy', 'matplotlib') if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", done], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert found.stdout.startswith(Path("plots/summary.md").read_text()), found.stderr
    assert found.stdout.splitlines()[-4:] == [
        "Pictures",
        "overview       " + "  ".join(f"plots/{name}.png" for name in PICTURES),
        f"squeezenet1_1  {picture}",
        "[]",
    ]


def test_without_a_table_print_says_what_writes_it(project):
    with refused("plots/summary.md: no such file; run `make`"):
        summary.main(["--print"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: write_models(faithful(model="other")), "params.yaml: models has changed"),
        (
            lambda: write_params(Path(), {"gate.spread": 0.5}),
            "params.yaml: gate.spread has changed",
        ),
        (lambda: Path("plots/summary.md").write_text("| model |"), "is not what summary wrote"),
        (lambda: Path("plots/parity.png").write_bytes(b"x"), "is not what summary wrote"),
        (lambda: write_lock({}), "dvc.lock knows no stage that wrote it"),
    ],
    ids=["models", "limit", "table", "picture", "no run"],
)
def test_a_table_of_another_run_is_not_printed(project, capsys, change, reason):
    write_models(faithful())
    summary.main([])
    lock()
    summary.main(["--print"])
    change()
    capsys.readouterr()
    with refused("plots/summary.md: not of the present inputs: ", reason, "`make`"):
        summary.main(["--print"])
    assert not capsys.readouterr().out
