"""The search, judged by what a graph holds: OpenCV itself is in test_file.py."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from helpers.faulty import parse
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.graphs.difference import Difference
from parity.mending.judge import Judgement, make_cases
from parity.mending.rule import Rule, pattern_rule
from parity.mending.search import apply_rules, mend
from parity.mending.steps import places_by_rule

SHAPES = "float[N, 3, 4, 4] input", "float[N, 3, 4, 4] output"
BODY = """
    a = HardSigmoid (input) b = HardSigmoid (a) c = Abs (b) d = Softsign (c)
    output = Mul (d, input)
"""
FAILED = np.inf


def without(op_type: str, replacement: Callable[..., ir.Value]) -> Rule:
    """Return a rule that writes nodes of a type in another way."""

    class Pattern(RewriteRuleClassBase):
        def pattern(self, op, x):
            return getattr(op, op_type)(x)

        def rewrite(self, op, x):
            return replacement(op, x)

    return pattern_rule(op_type.lower(), False, "a fault", Pattern)


def hard_sigmoid(op, x):
    numbers = (op.Constant(value=ir.tensor(np.float32(one))) for one in (0.2, 0.5, 0, 1))
    alpha, beta, zero, one = numbers
    return op.Clip(op.Add(op.Mul(x, alpha), beta), zero, one)


SAME = {
    "hardsigmoid": without("HardSigmoid", hard_sigmoid),
    "abs": without("Abs", lambda op, x: op.Max(x, op.Neg(x))),
    "softsign": without(
        "Softsign",
        lambda op, x: op.Div(x, op.Add(op.Abs(x), op.Constant(value=ir.tensor(np.float32(1))))),
    ),
}
OTHER = without("Abs", lambda op, x: op.Relu(op.Neg(x)))  # another function


class KnownJudge:
    """Judges a version by the operators in it: the first of `faults` that is there shows."""

    def __init__(self, model, faults: dict[tuple[str, ...], float]) -> None:
        blob = np.linspace(-3, 3, 48, dtype=np.float32).reshape(1, 3, 4, 4)
        self.cases, self.faults, self.judged = make_cases("m", model, [blob], 1e-4), faults, 0

    def judge(self, model) -> Judgement:
        self.judged += 1
        ops = [node.op_type for node in model.graph.node]
        for fault, rel in self.faults.items():
            if any(op in ops for op in fault):
                kind = "refused" if rel == FAILED else "values"
                difference = Difference(rel, kind, f"{fault[0].lower()}.cpp:1")
                return Judgement(difference, rel / 1e-4, "blob")
        return Judgement(Difference(0.0), 0.0, "blob")


def mended(model, faults, rules, near=()):
    judge, said = KnownJudge(model, faults), []
    found = mend(model, judge, rules, lambda *_: near, said.append)
    return found, places_by_rule(found.steps), said


@pytest.fixture
def model():
    return parse(BODY, *SHAPES)


def test_a_file_that_passes_stays(model):
    found, steps, _ = mended(model, {}, SAME.values())
    assert found.model is model and not steps and found.after.passes


@pytest.mark.parametrize("rel", [0.5, FAILED])
def test_the_rule_that_helps_is_kept_and_no_other(model, rel):
    found, steps, _ = mended(model, {("HardSigmoid",): rel}, SAME.values())
    assert found.after.passes and steps == {"hardsigmoid": ["a", "b"]}


def test_the_rule_that_fits_at_the_fault_is_tried_first(model):
    found, steps, _ = mended(model, {("Softsign",): 0.5}, SAME.values(), near={"d"})
    assert steps == {"softsign": ["d"]} and len(found.tried) == 1


def test_one_fault_after_the_other_is_mended(model):
    faults = {("HardSigmoid",): FAILED, ("Abs",): FAILED, ("Softsign",): 0.5}
    found, steps, _ = mended(model, faults, SAME.values())
    assert found.after.passes and set(steps) == {"hardsigmoid", "abs", "softsign"}


def test_a_rule_is_applied_again_to_what_another_rule_wrote(model):
    """Softsign is written with Abs."""
    faults = {("Softsign",): FAILED, ("Abs",): 0.5}
    found, steps, _ = mended(model, faults, [SAME["abs"], SAME["softsign"]])
    assert found.after.passes and len(steps["abs"]) == 2


def test_faults_that_hide_each_other_are_mended_together(model):
    faults = {("HardSigmoid", "Abs"): 1.0}
    found, steps, _ = mended(model, faults, [SAME["hardsigmoid"], SAME["abs"]])
    assert found.after.passes and set(steps) == {"hardsigmoid", "abs"}


def test_what_no_rule_mends_is_left(model):
    found, steps, said = mended(model, {("Mul",): 1.0}, SAME.values())
    assert not found.after.passes and not steps and found.model is model
    assert len(found.tried) >= len(SAME) and said[0].startswith("before: ")


def test_a_rule_that_changes_the_function_is_refused(model):
    found, steps, said = mended(model, {("Abs",): 1.0}, [OTHER])
    assert not found.after.passes and not steps
    assert any(line.startswith("FAILS: ONNX Runtime") for line in said)


def test_places_that_are_not_needed_are_taken_back(model):
    class FirstPlaceOnly(KnownJudge):
        def judge(self, version):
            wrong = any(
                node.op_type == "HardSigmoid" and "a" in node.output for node in version.graph.node
            )
            return Judgement(Difference(float(wrong)), 1e4 * wrong, "blob")

    judge = FirstPlaceOnly(model, {})
    found = mend(model, judge, [SAME["hardsigmoid"]], lambda *_: (), lambda line: None)
    assert places_by_rule(found.steps) == {"hardsigmoid": ["a"]}


def test_rules_can_be_applied_without_a_search(model):
    judge = KnownJudge(model, {})
    found = apply_rules(model, judge, [SAME["abs"], SAME["hardsigmoid"]], lambda line: None)
    assert [step.rule.name for step in found.steps] == ["abs", "hardsigmoid"]
    assert found.after.passes and judge.judged == 2
