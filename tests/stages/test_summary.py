"""The stage `summary`: the table, its pictures and their data, and `--print`."""

import subprocess
import sys
from pathlib import Path

from helpers.checkout import ROOT
from helpers.params import write_params
from helpers.refusals import refused
from helpers.results import every_pair, faithful, onnx_only, without, write_models

from stages import summary

PICTURES = ("inference_time", "accuracy", "parity", "exactness")


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


def test_print_shows_the_last_table_and_its_pictures_without_numpy(project):
    write_models(faithful())
    summary.main([])
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
