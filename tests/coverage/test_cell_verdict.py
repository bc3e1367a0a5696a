import pytest
from helpers.coverage import cell_figures, failure
from helpers.params import write_params

from parity.core.params import load_params
from parity.coverage.cell_verdict import judge_cell


@pytest.mark.parametrize(
    ("found", "verdict", "owner", "reason"),
    [
        (cell_figures(), "same", None, ""),
        (
            cell_figures({"failure": failure("refused")}),
            "refused",
            "engine",
            "why (right for 4x3x8x8)",
        ),
        (
            cell_figures({}, {"failure": failure("error")}),
            "refused",
            "engine",
            "4x3x8x8: why (right",
        ),
        (cell_figures({"failure": failure("crashed")}), "crashed", "engine", "why"),
        (cell_figures({"failure": failure("timeout")}), "timeout", "engine", "why"),
        (cell_figures({"failure": failure("shape")}), "different", "engine", "why"),
        (
            cell_figures(
                {"failure": failure("refused"), "onnxruntime_failed": True},
                onnxruntime={"failure": failure("refused")},
            ),
            "refused",
            "export",
            "why",
        ),
        (
            cell_figures(
                {"rel_pytorch": 0.1, "rel_export": None, "onnxruntime_failed": True},
                onnxruntime={"failure": failure("timeout")},
            ),
            "different",
            "unknown",
            "ONNX Runtime failed",
        ),
        (
            cell_figures({"before": failure("crashed")}),
            "crashed",
            "engine",
            "why; with a file of fixed sizes right (right for 4x3x8x8)",
        ),
        (
            cell_figures({"before": failure("shape")}, {"failure": failure("timeout")}),
            "different",
            "engine",
            "1x3x8x8: why",
        ),
        (
            cell_figures({"before": failure("timeout"), "rel_pytorch": 1, "rel_onnxruntime": 1}),
            "different",
            "engine",
            "rel 1.0e+00 from PyTorch",
        ),
        (
            cell_figures({}, {"rel_pytorch": 0.1, "rel_onnxruntime": 0.1}),
            "different",
            "engine",
            "1.0e-01",
        ),
        (
            cell_figures({"rel_pytorch": 0.1, "rel_export": 0.1}),
            "different",
            "export",
            "from PyTorch",
        ),
        (
            cell_figures({"rel_pytorch": 1.2e-4, "rel_export": 9e-5, "rel_onnxruntime": 9e-5}),
            "different",
            "export and engine",
            "1.2e-04",
        ),
        (
            cell_figures({"rel_pytorch": None, "rel_onnxruntime": None}),
            "different",
            "engine",
            "no number",
        ),
        (
            cell_figures(
                {"unstable": {"run": "MALLOC_PERTURB_=1", "found": "rel 3"}, "rel_pytorch": 9}
            ),
            "unstable",
            "engine",
            "MALLOC_PERTURB_=1: rel 3",
        ),
        (
            cell_figures(
                {"rel_pytorch": 2e-4}, reference={"spread": 1, "noise": 3e-4, "failure": None}
            ),
            "vacuous",
            "noise",
            "rel 2.0e-04 is rounding",
        ),
        (
            cell_figures(reference={"spread": 1e-5, "noise": 0, "failure": None}),
            "vacuous",
            None,
            "1.0e-05",
        ),
        (
            cell_figures(reference={"failure": failure("error")}, groups=[]),
            "refused",
            "model",
            "why",
        ),
        (
            cell_figures(reference={"failure": failure("timeout")}, groups=[]),
            "timeout",
            "model",
            "PyTorch: why",
        ),
        (
            cell_figures(
                {"rel_pytorch": 1e-3}, reference={"spread": 0, "noise": None, "failure": None}
            ),
            "different",
            "export and engine",
            "",
        ),
        (
            cell_figures(
                {"rel_pytorch": 1.0}, reference={"spread": 0, "noise": 0, "failure": None}
            ),
            "different",
            "export and engine",
            "",
        ),
        (
            cell_figures(export={"failure": failure("error")}, groups=[]),
            "not exportable",
            "export",
            "why",
        ),
        (
            cell_figures(export={"failure": failure("crashed")}, groups=[]),
            "crashed",
            "export",
            "why",
        ),
    ],
)
def test_a_cell_is_judged_by_its_worst_size_and_batch(project, found, verdict, owner, reason):
    judged = judge_cell(found, load_params())
    assert (judged.verdict, judged.owner) == (verdict, owner)
    assert reason in judged.reason


def test_outputs_that_are_right_from_fixed_sizes_only_are_marked(project):
    judged = judge_cell(cell_figures({}, {"before": failure("refused")}), load_params())
    assert judged.verdict == "same" and judged.fixed
    assert "fixed sizes" in judged.reason and "why" in judged.reason


def test_a_fresh_process_that_met_a_limit_is_a_caveat(project):
    judged = judge_cell(cell_figures({}, {"fresh_failure": failure("timeout")}), load_params())
    assert judged.verdict == "same"
    assert judged.reason == "4x3x8x8: not all was tried in fresh processes: why"


def test_another_limit_of_the_gate_changes_the_verdict_of_the_same_figures(project):
    found = cell_figures({"rel_pytorch": 5e-4, "rel_onnxruntime": 5e-4})
    assert judge_cell(found, load_params()).verdict == "different"
    write_params(project, {"gate.limits.classification.rel": 1e-3})
    assert judge_cell(found, load_params()).verdict == "same"
