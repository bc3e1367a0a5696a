import pytest
from helpers.coverage import cell_figures, failure

from parity.core.params import load_params
from parity.coverage.cell_verdict import judge_cell
from parity.coverage.mended import can_be_mended, is_tried, judge_mended
from parity.coverage.record import is_mended, recorded_cell
from parity.coverage.report import cell_text
from parity.mending.rules import RULES

WRONG = {"rel_pytorch": 0.6, "rel_onnxruntime": 0.6}
BY_EXPORT = {"rel_pytorch": 0.6, "rel_export": 0.6, "rel_onnxruntime": 1e-6}
REFUSED = {"failure": failure("refused"), "rel_pytorch": None, "rel_onnxruntime": None}
CRASHED = REFUSED | {"failure": failure("crashed")}
FIXED = {"before": failure("refused")}
KNOWN = sorted(RULES)


@pytest.mark.parametrize(
    ("figures", "can"),
    [
        (cell_figures(), False),
        (cell_figures(WRONG), True),
        (cell_figures({}, REFUSED), True),
        (cell_figures(CRASHED), True),
        (cell_figures(FIXED), True),
        (cell_figures(BY_EXPORT), False),
        (cell_figures(export={"failure": failure("error")}, groups=[]), False),
        (cell_figures(WRONG, onnxruntime={"failure": failure("refused"), "ms": None}), False),
    ],
)
def test_what_the_engine_gets_wrong_with_a_dynamic_file_can_be_mended(figures, can):
    assert can_be_mended(figures, load_params()) == can


def mending(*groups: dict, known=tuple(KNOWN)) -> dict:
    """What a cell holds of its mended file, with the figures of two groups."""
    figures = cell_figures(*groups)["groups"]
    return {"known": [*known], "rules": {"hard_sigmoid": 9}, "tried": ["why"], "groups": figures}


def test_a_cell_is_tried_again_where_a_rule_is_new():
    assert not is_tried(cell_figures(WRONG))
    assert is_tried(cell_figures(WRONG, mended=mending()))
    unmended = mending() | {"groups": [], "rules": {}}
    assert is_tried(cell_figures(WRONG, mended=unmended))
    assert not is_tried(cell_figures(WRONG, mended=unmended | {"known": KNOWN[1:]}))


def test_a_mended_file_is_judged_as_an_exported_one_is():
    params, figures = load_params(), cell_figures(WRONG, mended=mending())
    assert judge_cell(figures, params).verdict == "different"
    assert judge_mended(figures, params).verdict == "same"
    assert judge_mended(cell_figures(WRONG), params) is None
    wrong = cell_figures(WRONG, mended=mending(WRONG))
    assert judge_mended(wrong, params).verdict == "different"


def test_a_record_has_both_verdicts():
    params = load_params()
    cell = recorded_cell(cell_figures(WRONG, mended=mending()), params)
    assert (cell["verdict"], cell["mended"]["verdict"]) == ("different", "same")
    assert is_mended(cell) and cell["mended"]["rules"] == {"hard_sigmoid": 9}
    assert cell_text(cell, {}).endswith("mended: 9 \N{MULTIPLICATION SIGN} hard_sigmoid")
    unmended = recorded_cell(cell_figures(WRONG, mended=mending() | {"groups": []}), params)
    assert not is_mended(unmended) and unmended["mended"]["reason"] == "why"
    assert recorded_cell(cell_figures(WRONG), params)["mended"] is None
