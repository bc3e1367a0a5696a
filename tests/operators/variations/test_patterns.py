import pytest

from parity.operators.variations.draws import Draws
from parity.operators.variations.patterns import PATTERNS


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_a_pattern_is_a_model_whose_tensors_are_all_used(number):
    pattern = PATTERNS[number]
    sketch = pattern.sketch(Draws(0, pattern.name))
    read = {name for node in sketch.nodes for name in node.input}
    assert sketch.run() is not None and {*pattern.tensors} <= read
