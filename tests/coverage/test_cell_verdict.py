import pytest
from helpers.coverage import cell_figures, exact, failure
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
            "why; from a fixed-size file: right (right for 4x3x8x8)",
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
            "rel NaN from PyTorch",
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
    assert judged.reason == "needs a fixed-size file; the dynamic one fails, 4x3x8x8: why"


def test_a_fresh_process_that_met_a_limit_is_a_caveat(project):
    judged = judge_cell(cell_figures({}, {"fresh_failure": failure("timeout")}), load_params())
    assert judged.verdict == "same"
    assert judged.reason == "a fresh process did not finish, 4x3x8x8: why"


def test_another_limit_of_the_gate_changes_the_verdict_of_the_same_figures(project):
    found = cell_figures({"rel_pytorch": 5e-4, "rel_onnxruntime": 5e-4})
    assert judge_cell(found, load_params()).verdict == "different"
    write_params(project, {"gate.limits.classification.rel": 1e-3})
    assert judge_cell(found, load_params()).verdict == "same"


BEYOND_BACKSTOP = {"rel_pytorch": 2e-3, "rel_onnxruntime": 2e-3}
NO_NUMBER = {"rel_pytorch": None, "rel_onnxruntime": None}
FAILED_REFEREE = {"onnxruntime_failed": True, "rel_export": None, "rel_onnxruntime": None}


@pytest.mark.parametrize(
    ("group", "onnxruntime", "verdict", "owner"),
    [
        ({"exact": exact(1.0)}, None, "same", None),
        ({"exact": exact(10.0)}, None, "same", None),
        ({"exact": exact(10.1)}, None, "imprecise", "engine"),
        ({"exact": exact(48.0, onnxruntime=45.0)}, None, "imprecise", "export"),
        ({"exact": exact(48.0, onnxruntime=None)}, None, "imprecise", "export"),
        ({"exact": exact(48.0)} | FAILED_REFEREE, "timeout", "imprecise", "unknown"),
        ({"exact": exact(48.0)} | FAILED_REFEREE, "refused", "imprecise", "export"),
        # The wide backstop of `rel` holds where the ratio is known, and only there.
        ({"exact": exact(1.0), "rel_pytorch": 5e-4}, None, "same", None),
        ({"exact": exact(1.0)} | BEYOND_BACKSTOP, None, "different", "engine"),
        ({"exact": exact(48.0)} | BEYOND_BACKSTOP, None, "different", "engine"),
        ({"exact": exact(None), "rel_pytorch": 5e-4}, None, "different", "export and engine"),
        ({"exact": exact(float("nan"))} | NO_NUMBER, None, "different", "engine"),
        ({"exact": None}, None, "same", None),
    ],
)
def test_a_cell_beyond_what_rounding_explains_is_imprecise(
    project, group, onnxruntime, verdict, owner
):
    referee = {"failure": failure(onnxruntime) if onnxruntime else None}
    judged = judge_cell(cell_figures({}, group, onnxruntime=referee), load_params())
    assert (judged.verdict, judged.owner) == (verdict, owner)


def test_an_imprecise_cell_says_by_how_much_in_one_line(project):
    found = cell_figures({"exact": exact(2.0)}, {"exact": exact(48.2, 1.5), "rel_pytorch": 3e-5})
    judged = judge_cell(found, load_params())
    assert judged.reason == (
        "4x3x8x8: OpenCV: 48.2 times as far from the exact answer as PyTorch is (limit 10):"
        " rounding does not explain it; ONNX Runtime: 1.5 times; rel 3.0e-05 (right for 1x3x8x8)"
    )
    assert (judged.exactness, judged.onnxruntime_exactness) == (48.2, 1.5)


def test_an_imprecise_cell_from_a_fixed_size_file_says_so(project):
    group = {"exact": exact(48.2), "before": failure("refused")}
    judged = judge_cell(cell_figures(group, group), load_params())
    assert (judged.verdict, judged.fixed) == ("imprecise", False)
    assert judged.reason.endswith("; needs a fixed-size file; the dynamic one fails, 1x3x8x8: why")


def test_the_exactness_of_a_cell_is_that_of_its_worst_group_and_needs_all(project):
    params = load_params()
    found = [cell_figures({"exact": exact(3.0)}, other) for other in ({"exact": exact(2.0)}, {})]
    assert [judge_cell(one, params).exactness for one in found] == [3.0, None]


def test_another_limit_of_exactness_judges_again(project):
    found = cell_figures({"exact": exact(48.0)})
    assert judge_cell(found, load_params()).verdict == "imprecise"
    write_params(project, {"gate.limits.classification.exactness": 50})
    assert judge_cell(found, load_params()).verdict == "same"
