import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched

from parity.mending.hard_sigmoid import RULE

SHAPES = "float[N, 4, H, W] input", "float[N, 4, H, W] output"


@pytest.mark.parametrize("attributes", ["", "<alpha = 0.16666667>", "<alpha = -2.0, beta = 0.25>"])
def test_it_is_the_same_function(attributes):
    body = f"gate = HardSigmoid {attributes} (input) output = Mul (input, gate)"
    assert_same_function(RULE, parse(body, *SHAPES), (1, 4, 3, 2), (3, 4, 1, 7))


def test_every_consumer_reads_the_replacement():
    body = """
        gate = HardSigmoid (input) scaled = Mul (gate, input) more = Add (gate, input)
        output = Add (scaled, more)
    """
    mended = assert_same_function(RULE, parse(body, *SHAPES), (2, 4, 3, 3))
    assert "HardSigmoid" not in [node.op_type for node in mended.graph.node]


def test_only_the_places_that_are_asked_for_change():
    body = "one = HardSigmoid (input) two = HardSigmoid (one) output = Mul (one, two)"
    mended, changed = applied(RULE, parse(body, *SHAPES), ["two"])
    assert changed == ["two"]
    assert [node.op_type for node in mended.graph.node].count("HardSigmoid") == 1


@pytest.mark.parametrize("near", ["Sigmoid", "HardSwish", "Softsign"])
def test_other_activations_stay(near):
    assert_untouched(RULE, parse(f"output = {near} (input)", *SHAPES))
