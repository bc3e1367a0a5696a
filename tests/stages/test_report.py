"""The stage `report`: the page it writes, and the path it prints."""

from helpers.lock import locked_entry, write_lock
from helpers.refusals import refused
from helpers.report import write_run

from parity.core.paths import REPORT
from stages import report


def test_without_a_page_there_is_none_to_open(project):
    for option in ("--print", "--open"):
        with refused(f"{REPORT}: no such file; run `make`, which writes it"):
            report.main([option])


def test_print_names_the_page_of_the_present_inputs(project, capsys):
    write_run()
    report.main([])
    deps = ("data/details", "data/results", "metrics/gate.json")
    write_lock({"report": locked_entry([str(REPORT)], deps, ("models",))})
    capsys.readouterr()
    report.main(["--print"])
    assert capsys.readouterr().out == f"report: {REPORT}\n"
    REPORT.write_text("another")
    with refused(f"{REPORT}: not of the present inputs"):
        report.main(["--print"])


def test_against_an_unknown_revision_nothing_is_written(project):
    write_run()
    with refused("other: neither a revision of Git nor an experiment of DVC"):
        report.main(["--against", "other"])
    assert not REPORT.with_stem("report-against").exists()
