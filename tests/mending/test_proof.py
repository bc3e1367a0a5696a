import numpy as np
import onnx_ir as ir
import pytest
from helpers.faulty import parse
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.judge import make_cases, other_blobs
from parity.mending.proof import prove
from parity.mending.rule import pattern_rule
from parity.mending.rules import RULES
from parity.mending.steps import Step, apply_steps

SHAPES = "float[N, 3, H, W] input", "float[N, 3, H, W] output"
BLOB = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)


class Doubled(RewriteRuleClassBase):
    """Halve and double: the same bits, except for the smallest and largest numbers."""

    def pattern(self, op, x):
        return op.Relu(x)

    def rewrite(self, op, x):
        half, two = (op.Constant(value=ir.tensor(np.float32(one))) for one in (0.5, 2))
        return op.Mul(op.Mul(op.Relu(x), half), two)


class Rounded(Doubled):
    def rewrite(self, op, x):
        third, three = (op.Constant(value=ir.tensor(np.float32(one))) for one in (1 / 3, 3))
        return op.Mul(op.Mul(op.Relu(x), third), three)


class Other(Doubled):
    def rewrite(self, op, x):
        return op.Add(op.Relu(x), op.Constant(value=ir.tensor(np.float32(1e-3))))


class Refused(Doubled):
    def rewrite(self, op, x):
        return op.NoOperator(x)


@pytest.fixture
def model():
    weight = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)
    body = "a = Conv (input, w) output = Relu (a)"
    return parse(body, *SHAPES, w=weight)


@pytest.mark.parametrize(
    ("pattern", "exact", "failing"),
    [
        (Doubled, True, set()),
        (Doubled, False, set()),
        (
            Rounded,
            True,
            {"ONNX Runtime, before and after, bit for bit", "float64, before and after"},
        ),
        (
            Other,
            False,
            {"ONNX Runtime, before and after, within rounding", "float64, before and after"},
        ),
        (
            Refused,
            True,
            {"ONNX Runtime, before and after, bit for bit", "float64, before and after"},
        ),
    ],
)
def test_the_proof_fails_for_another_function(model, pattern, exact, failing):
    cases = make_cases("model.onnx", model, [BLOB], 1e-4)
    step = Step(pattern_rule("rule", exact, "a fault", pattern), ["output"])
    checks = prove(model, apply_steps(model, [step]), [step], cases)
    assert {check.what for check in checks if not check.holds} == failing
    assert all(check.text.startswith("holds" if check.holds else "FAILS") for check in checks)
    assert len(checks) == 3


def test_other_numbers_and_sizes_of_images_belong_to_the_proof(model):
    shapes = [case.blob.shape for case in make_cases("model.onnx", model, [BLOB], 1e-4)]
    assert shapes == [(1, 3, 64, 96), (2, 3, 64, 96), (1, 3, 32, 64)]
    assert other_blobs(model, [BLOB, BLOB[:, :, 1:].repeat(2, 0)]) == []


def test_a_file_of_fixed_sizes_is_proved_on_these(model):
    shape = model.graph.input[0].type.tensor_type.shape
    for axis, length in zip(shape.dim, BLOB.shape, strict=True):
        axis.dim_value = length
    assert [case.blob.shape for case in make_cases("m", model, [BLOB], 1e-4)] == [BLOB.shape]


def test_folded_constants_may_be_rounded_but_not_be_others():
    """OpenCV 4 reads swin_v2_t only with its constants folded, and they are stored in float32."""
    scale = np.float32([0.1, 0.2, 0.3]).reshape(3, 1, 1)
    model = parse("a = Exp (scale) output = Mul (input, a)", *SHAPES, scale=scale)
    cases = make_cases("model.onnx", model, [BLOB], 1e-4)
    folding = RULES["constant_folding"]
    step = Step(folding, ["a"])
    assert all(check.holds for check in prove(model, apply_steps(model, [step]), [step], cases))
    unlike = parse("a = Sin (scale) output = Mul (input, a)", *SHAPES, scale=scale)
    checks = prove(model, apply_steps(unlike, [step]), [step], cases)
    assert [check.what for check in checks if not check.holds] == [
        "ONNX Runtime, before and after, within rounding",
        "float64, before and after, within float32's rounding",
    ]
