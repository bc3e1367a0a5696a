import numpy as np
import onnx
import pytest
from helpers.faulty import (
    BLOB,
    FAULTS,
    change_weight,
    network,
    node_of,
    parse,
    remove,
    remove_and_take_over_name,
    rename_tensors,
    set_attribute,
)
from onnx import ModelProto, helper, numpy_helper

from parity.graphs.divergence import Divergence, find_divergence
from parity.graphs.graph import input_names
from parity.graphs.tolerance import measured_tolerance
from parity.graphs.values import all_values, compute_values

LIMIT = 1e-4


def diverge(candidate: ModelProto, reference: ModelProto) -> Divergence:
    expected = all_values(reference, dict.fromkeys(input_names(reference), BLOB))
    computed = compute_values(candidate, dict.fromkeys(input_names(candidate), BLOB))
    return find_divergence(
        reference, expected, candidate, computed, measured_tolerance(reference, expected, LIMIT)
    )


def test_of_two_equal_nodes_the_missing_one_is_named():
    """A chain without a tensor of the same name between its ends."""
    reference, candidate = network(), network()
    for model in (reference, candidate):
        clip = node_of(model, "clip")
        second = onnx.NodeProto()
        second.CopyFrom(clip)
        second.name, second.input[0], second.output[0] = "clip_again", "clip_out", "again_out"
        model.graph.node.insert(3, second)
        node_of(model, "pool").input[0] = "again_out"
    change_weight(candidate, "bias", lambda bias: bias + 1)
    remove(candidate, "clip_again")
    assert diverge(candidate, reference).node.name == "bn"


def test_a_gemm_that_does_not_fit_is_found_where_the_file_states_no_shapes():
    reference = network()
    reference.graph.initializer.append(numpy_helper.from_array(np.int64([1]), "one"))
    times = helper.make_node("Mul", ["shape", "one"], ["shape_out"], "shape")
    node_of(reference, "reshape").input[1] = "shape_out"
    reference.graph.node.insert(0, times)
    candidate = ModelProto.FromString(reference.SerializeToString())
    set_attribute(candidate, "output", transB=0)
    found = diverge(candidate, reference)
    assert found.node.name == found.failed_at.name == "output"
    assert found.difference.failed and found.confirmed


def test_files_with_other_tensor_names_are_compared_by_their_nodes():
    candidate = network()
    FAULTS["Clip bound"][0](candidate)
    found = diverge(rename_tensors(candidate), network())
    assert found.node.name == found.counterpart.name == "clip" and found.confirmed


def chain_of_relus() -> ModelProto:
    """Five convolutions, each followed by a Relu that is equal to the others."""
    lines, names, last = [], [], "input"
    for number in range(5):
        conv = f"conv{number}_out = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
        lines.append(f"{conv} ({last}, w{number})")
        last = f"relu{number}_out"
        lines.append(f"{last} = Relu (conv{number}_out)")
        names += [f"conv{number}", f"relu{number}"]
    lines.append(f"output = GlobalAveragePool ({last})")
    rng = np.random.default_rng(0)
    weights = {f"w{n}": rng.standard_normal((3, 3, 3, 3)).astype(np.float32) for n in range(5)}
    shapes = "float[N, 3, 16, 16] input", "float[N, 3, 1, 1] output"
    model = parse(" ".join(lines), *shapes, **weights)
    for node, name in zip(model.graph.node, [*names, "output"], strict=True):
        node.name = name
    return model


@pytest.mark.parametrize("how", ["an Identity", "removed", "removed, its name taken over"])
@pytest.mark.parametrize("other_names", [True, False])
@pytest.mark.parametrize("number", [0, 2])
def test_of_many_equal_nodes_the_missing_one_is_named(how, other_names, number):
    candidate, name = chain_of_relus(), f"relu{number}"
    if how == "an Identity":
        node_of(candidate, name).op_type = "Identity"
    else:
        {"removed": remove}.get(how, remove_and_take_over_name)(candidate, name)
    found = diverge(rename_tensors(candidate) if other_names else candidate, chain_of_relus())
    assert (found.node.name, found.confirmed) == (name, True)


def test_files_with_nothing_in_common_have_no_node_to_name():
    weight = np.ones((3 * 16 * 16, 5), np.float32)
    body = "flat = Flatten (image) logits = MatMul (flat, w)"
    other = parse(body, "float[N, 3, 16, 16] image", "float[N, 5] logits", w=weight)
    found = diverge(other, network())
    assert found.node is None and found.output == "output" and not found.confirmed
    assert found.difference.rel > LIMIT
