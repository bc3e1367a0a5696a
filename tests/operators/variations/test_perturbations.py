import numpy as np
import pytest

from parity.operators.variations.draws import Draws
from parity.operators.variations.patterns import PATTERNS
from parity.operators.variations.perturbations import (
    PERTURBATIONS,
    broadcast_constant,
    broadcast_operand,
    constant_as_input,
    other_axis,
    other_constant,
    other_flag,
    other_operand,
    other_operator,
    second_consumer,
    swapped_operands,
)
from parity.operators.variations.sketch import Sketch, parse_nodes


def pattern(name):
    return next(one for one in PATTERNS if one.name == name).sketch(Draws(0, name))


def texts(sketch):
    return [f"{node.op_type}({', '.join(node.input)})" for node in sketch.nodes]


def perturbed(perturb, sketch):
    return list(perturb(sketch, Draws(0, "test")))


def test_operands_are_swapped():
    found = perturbed(swapped_operands, pattern("SiLU"))
    assert [texts(one) for one in found] == [["Sigmoid(x)", "Mul(s, x)"]]


def test_one_of_two_reads_is_of_another_input_or_of_a_computed_tensor():
    found = [texts(one) for one in perturbed(other_operand, pattern("SiLU"))]
    assert found == [
        ["Sigmoid(other)", "Mul(x, s)"],
        ["Neg(x)", "Sigmoid(other)", "Mul(x, s)"],
        ["Sigmoid(x)", "Mul(other, s)"],
        ["Sigmoid(x)", "Neg(x)", "Mul(other, s)"],
    ]


def test_a_read_is_of_a_tensor_that_broadcasts_in_each_position():
    found = perturbed(broadcast_operand, pattern("SiLU"))
    shapes = {one.inputs["other"].shape for one in found if "other" in one.inputs}
    assert shapes == {(4, 5, 6), (5, 6), (6,), (1,), ()}
    axes = {tuple(one.constants["axes"]) for one in found if "axes" in one.constants}
    assert {(1,), (2,), (3,), (1, 2, 3), (2, 3)} <= axes


def test_a_tensor_inside_is_read_twice():
    found = perturbed(second_consumer, pattern("SiLU"))
    assert [one.outputs for one in found] == [("y", "s"), ("y", "extra")]


def test_numbers_change():
    found = perturbed(other_constant, pattern("Softplus"))
    assert [float(one.constants["one"]) for one in found] == [2, pytest.approx(1.1), -1]
    (alpha, beta) = perturbed(other_constant, pattern("HardSwish"))
    assert alpha.nodes[0].attribute[-1].f == pytest.approx(0.16666667 * 1.1 + 0.1)
    assert beta.nodes[0].attribute[-1].f == pytest.approx(0.65)


def test_a_constant_takes_other_shapes_and_may_be_fed():
    found = perturbed(broadcast_constant, pattern("Softplus"))
    assert {(1, 4, 1, 1), (6,), (1, 4, 5, 6)} <= {one.constants["one"].shape for one in found}
    (fed,) = perturbed(constant_as_input, pattern("Softplus"))
    assert "one" in fed.inputs and not fed.constants


def test_an_axis_and_a_flag_change():
    axes = perturbed(other_axis, pattern("LogSoftmax"))
    assert [one.nodes[0].attribute[0].i for one in axes] == [0, 1]
    (first, _) = perturbed(other_flag, pattern("Softmax"))
    assert {one.name: one.i for one in first.nodes[0].attribute}["keepdims"] == 0


def test_a_node_is_of_another_operator():
    found = [texts(one) for one in perturbed(other_operator, pattern("SiLU"))]
    assert found == [["Tanh(x)", "Mul(x, s)"], ["Sigmoid(x)", "Div(x, s)"]]


def test_what_no_output_needs_any_more_is_left_out():
    inputs = {"x": np.ones((2, 3), np.float32)}
    sketch = Sketch(parse_nodes("a = Neg(x) b = Exp(c) y = Add(a, b)"), inputs, {"c": np.ones(3)})
    bare = sketch.with_nodes(parse_nodes("a = Neg(x) b = Exp(c) y = Abs(a)"), "")
    assert texts(bare) == ["Neg(x)", "Abs(a)"] and not bare.constants


@pytest.mark.parametrize("perturb", PERTURBATIONS, ids=lambda one: one.__name__)
def test_a_perturbation_says_what_it_did_and_leaves_the_pattern_alone(perturb):
    sketch = pattern("LayerNorm")
    before = texts(sketch)
    assert all(one.label for one in perturbed(perturb, sketch))
    assert texts(sketch) == before
