import numpy as np
from helpers.faulty import BLOB, change_weight, network, node_of, parse, perturb_one, rename_tensors
from helpers.small_faults import bfloat16
from onnx import ModelProto

from parity.graphs.graph import input_names, producers
from parity.graphs.matching import compare_pairs, names_in_common
from parity.graphs.pairing import output_pairs, tensor_pairs
from parity.graphs.values import all_values

MODEL = network()
VALUES = all_values(MODEL, {"input": BLOB})


def pairs_of(candidate: ModelProto) -> dict[str, str]:
    values = all_values(candidate, dict.fromkeys(input_names(candidate), BLOB))
    pairs, is_same_network = tensor_pairs(MODEL, VALUES, candidate, values)
    assert is_same_network
    return pairs


def two_outputs(first: str, second: str):
    outputs = f"float[N, 3] {first}, float[N, 3] {second}"
    return parse(f"{first} = Neg (x) {second} = Relu (x)", outputs=outputs)


def test_outputs_match_by_name_or_else_by_position():
    reference = two_outputs("a", "b")
    assert output_pairs(reference, two_outputs("b", "a")) == {"a": "a", "b": "b"}
    assert output_pairs(reference, two_outputs("c", "a")) == {"a": "c", "b": "a"}
    assert names_in_common(reference, two_outputs("c", "a")) == {"a": "c", "b": "a"}


def test_renamed_tensors_match_by_their_values():
    assert pairs_of(rename_tensors(MODEL)) == {name: f"t.{name}" for name in producers(MODEL)}


def test_values_tell_more_than_names_that_are_shifted_by_one():
    shifted = network()
    names = [node.output[0] for node in shifted.graph.node][:-1]
    new = dict(zip(names, names[1:] + names[:1], strict=True))
    for node in shifted.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    assert pairs_of(shifted) == new | {"output": "output"}


def test_behind_a_changed_weight_renamed_tensors_match_by_their_nodes():
    changed = network()
    change_weight(changed, "conv1_w", perturb_one)
    renamed = rename_tensors(changed)
    pairs = pairs_of(renamed)
    assert pairs == {name: f"t.{name}" for name in producers(MODEL)}
    errors = compare_pairs(MODEL, VALUES, all_values(renamed, {"t.input": BLOB}), pairs)
    assert list(errors) == [name for name in VALUES if name != "input"]
    assert all(error.rel > 0 for error in errors.values())


def test_rounded_weights_still_tell_which_node_is_which():
    changed = network()
    for name in ("conv1_w", "conv2_w", "conv3_w", "gemm1_w", "gemm2_w"):
        change_weight(changed, name, bfloat16)
    assert pairs_of(rename_tensors(changed)) == {name: f"t.{name}" for name in producers(MODEL)}


def test_branches_of_one_shape_are_told_apart_by_their_kernels():
    """As SqueezeNet's expand1x1 and expand3x3, in a network whose first weight changed."""
    body = """
        first = Conv <kernel_shape = [1, 1]> (input, w)
        one = Conv <kernel_shape = [1, 1]> (first, w1)
        three = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (first, w3)
        one_relu = Relu (one)
        three_relu = Relu (three)
        output = Concat <axis = 1> (one_relu, three_relu)
    """
    draw = np.random.default_rng(0).standard_normal
    shapes = {"w": (4, 3, 1, 1), "w1": (4, 4, 1, 1), "w3": (4, 4, 3, 3)}
    weights = {name: draw(shape).astype(np.float32) for name, shape in shapes.items()}
    kinds = "float[1, 3, 16, 16] input", "float[1, 8, 16, 16] output"
    model = parse(body, *kinds, **weights)
    swapped = parse(body, *kinds, **{name: 2 * weight for name, weight in weights.items()})
    swapped.graph.node[5].input[:] = ["three_relu", "one_relu"]
    for node in model.graph.node:
        node.name = node.output[0]
    renamed = rename_tensors(swapped)
    values = (all_values(model, {"input": BLOB}), all_values(renamed, {"t.input": BLOB}))
    pairs, _ = tensor_pairs(model, values[0], renamed, values[1])
    assert (pairs["one"], pairs["three"]) == ("t.one", "t.three")
    assert (pairs["one_relu"], pairs["three_relu"]) == ("t.one_relu", "t.three_relu")


def test_the_tensor_of_a_lost_node_has_no_partner():
    lost = network()
    node_of(lost, "resize").input[0] = "relu_out"
    lost.graph.node.remove(node_of(lost, "add"))
    pairs = pairs_of(rename_tensors(lost))
    assert "add_out" not in pairs and pairs["resize_out"] == "t.resize_out"
