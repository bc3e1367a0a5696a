from math import inf

from helpers.faulty import BLOB, change_weight, network, parse, perturb_one, rename_tensors

from parity.graphs.difference import Difference
from parity.graphs.graph import producers
from parity.graphs.matching import compare_pairs, differs_inside, names_in_common
from parity.graphs.pairing import output_pairs, tensor_pairs
from parity.graphs.tolerance import Tolerance
from parity.graphs.values import all_values

MODEL = network()
VALUES = all_values(MODEL, {"input": BLOB})


def two_outputs(first: str, second: str):
    outputs = f"float[N, 3] {first}, float[N, 3] {second}"
    return parse(f"{first} = Neg (x) {second} = Relu (x)", outputs=outputs)


def test_outputs_match_by_name_or_else_by_position():
    reference = two_outputs("a", "b")
    assert output_pairs(reference, two_outputs("b", "a")) == {"a": "a", "b": "b"}
    assert output_pairs(reference, two_outputs("c", "a")) == {"a": "c", "b": "a"}
    assert names_in_common(reference, two_outputs("c", "a")) == {"a": "c", "b": "a"}


def test_renamed_tensors_match_by_their_bits():
    renamed = rename_tensors(MODEL)
    pairs, is_same_network = tensor_pairs(
        MODEL, VALUES, renamed, all_values(renamed, {"t.input": BLOB})
    )
    assert is_same_network
    assert pairs == {name: f"t.{name}" for name in producers(MODEL)}


def test_renamed_tensors_of_another_weight_match_by_their_nodes():
    changed = network()
    change_weight(changed, "conv1_w", perturb_one)
    renamed = rename_tensors(changed)
    values = all_values(renamed, {"t.input": BLOB})
    pairs, is_same_network = tensor_pairs(MODEL, VALUES, renamed, values)
    assert is_same_network and pairs["gemm1_out"] == "t.gemm1_out"
    errors = compare_pairs(MODEL, VALUES, values, pairs)
    assert list(errors) == [name for name in VALUES if name != "input"]
    assert all(error.rel > 0 for error in errors.values())


def test_a_hidden_difference_counts_but_not_one_against_zeros():
    right, wrong, zeros = Difference(1e-6), Difference(1e-3), Difference(inf)
    assert differs_inside({"a": wrong, "b": right}, Tolerance(1e-4))
    assert not differs_inside({"a": right, "b": zeros}, Tolerance(1e-4))
    assert differs_inside({"a": Difference(inf, "shape")}, Tolerance(1e-4))
