"""Which node of a residual block is to blame: the one that is lost, or whose inputs changed."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers.faulty import BLOB, node_of, parse, rename_tensors
from onnx import ModelProto

from parity.graphs.divergence import Divergence, find_divergence
from parity.graphs.graph import input_names
from parity.graphs.tolerance import measured_tolerance
from parity.graphs.values import all_values, compute_values


def blocks() -> ModelProto:
    """Return two residual blocks; each node has the name of its output."""
    conv = "Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
    body = f"""
        stem = {conv} (input, w0)
        a1 = {conv} (stem, w1)
        a2 = Relu (a1)
        a3 = {conv} (a2, w2)
        a = Add (a3, stem)
        b1 = {conv} (a, w3)
        b2 = Relu (b1)
        b3 = {conv} (b2, w4)
        b = Add (b3, a)
        output = {conv} (b, w5)
    """
    draw = np.random.default_rng(0).standard_normal
    weights = {f"w{n}": draw((3, 3, 3, 3)).astype(np.float32) / 5 for n in range(6)}
    model = parse(body, "float[1, 3, 16, 16] input", "float[1, 3, 16, 16] output", **weights)
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def read_instead(model: ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def rewire(node: str, place: int, name: str) -> Callable[[ModelProto], None]:
    def put(model: ModelProto) -> None:
        node_of(model, node).input[place] = name

    return put


FAULTS: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "branch lost": (lambda model: read_instead(model, "b", "a"), "b"),
    "shortcut lost": (lambda model: read_instead(model, "b", "b3"), "b"),
    "shortcut from another block": (rewire("b", 1, "stem"), "b"),
    "branch twice": (rewire("b", 1, "b3"), "b"),
    "shortcut twice": (rewire("b", 0, "a"), "b"),
    "activation lost": (lambda model: read_instead(model, "b2", "b1"), "b2"),
}


def without_dead_nodes(model: ModelProto) -> None:
    while dead := [
        node
        for node in model.graph.node
        if node.output[0] != "output"
        and not any(node.output[0] in other.input for other in model.graph.node)
    ]:
        for node in dead:
            model.graph.node.remove(node)


def diverge(candidate: ModelProto) -> Divergence:
    reference = blocks()
    expected = all_values(reference, {"input": BLOB})
    computed = compute_values(candidate, dict.fromkeys(input_names(candidate), BLOB))
    tolerance = measured_tolerance(reference, expected, 1e-4)
    return find_divergence(reference, expected, candidate, computed, tolerance)


@pytest.mark.parametrize("other_names", [True, False])
@pytest.mark.parametrize("name", FAULTS)
def test_the_node_that_is_lost_or_rewired_is_to_blame(name, other_names):
    put, node = FAULTS[name]
    candidate = blocks()
    put(candidate)
    without_dead_nodes(candidate)
    found = diverge(rename_tensors(candidate) if other_names else candidate)
    assert (found.node.name, found.confirmed, found.others) == (node, True, {})
    assert found.replaced


def test_a_second_fault_is_another_than_the_first():
    candidate = blocks()
    read_instead(candidate, "a2", "a1")
    node_of(candidate, "b2").op_type = "Sigmoid"
    found = diverge(candidate)
    assert found.node.name == "a2"
    assert [node.name for node, _ in found.others.values()] == ["b2"]
