import pytest

from parity.operators.variations.cases import variations
from parity.operators.variations.draws import Draws
from parity.operators.variations.single import OPERATORS


@pytest.mark.parametrize("op", OPERATORS)
def test_an_operator_is_drawn_as_one_node(op):
    sketch = OPERATORS[op](Draws(0, op))
    assert [node.op_type for node in sketch.nodes] == [op]


def test_choices_that_matter_occur():
    nodes = [case.model.graph.node[0] for case in variations(["AveragePool"])]
    pads = {one.s for node in nodes for one in node.attribute if one.name == "auto_pad"}
    sizes = {
        tuple(one.dim_value for one in case.model.graph.input[0].type.tensor_type.shape.dim)
        for case in variations(["GlobalAveragePool"])
    }
    assert {b"SAME_UPPER", b"SAME_LOWER", b"VALID"} <= pads
    assert {1, 3} == {size[0] for size in sizes} and {1} < {size[2] for size in sizes}
