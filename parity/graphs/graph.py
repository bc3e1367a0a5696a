"""Read an ONNX graph and walk it: what a tensor is computed from, and what every path passes.

Tensors are known by their names. A node with subgraphs (If, Loop) counts as one node, whose inputs
include what the subgraphs capture from outside.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
from onnx import ModelProto, NodeProto, numpy_helper

from parity.core.cli import InputError
from parity.networks.external_data import load_external_data
from parity.networks.onnx_file import parse

RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial")


def load_model(path: Path) -> ModelProto:
    """Read an ONNX file as it is: inferred shapes could change what an engine makes of it.

    Raises InputError when the file is missing or not valid ONNX, or names data outside its folder.
    """
    model = parse(path)
    load_external_data(path, model)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker's errors share no base class
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a valid ONNX file: {reason}") from None
    return model


def save(model: ModelProto, path: Path) -> None:
    """Write a model; unlike `onnx.save`, without a temporary copy of external data."""
    path.write_bytes(model.SerializeToString())


def input_names(model: ModelProto) -> list[str]:
    """Return the inputs that a user feeds; old files list their weights as inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


def output_names(model: ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


def producers(model: ModelProto) -> dict[str, NodeProto]:
    """Map each tensor to the node that computes it, in the file's order, a topological one."""
    return {name: node for node in model.graph.node for name in node.output if name}


def node_inputs(node: NodeProto) -> list[str]:
    """Return the tensors that a node reads, including those that its subgraphs capture."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            local = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                names += [name for name in node_inputs(inner) if name not in local]
                local.update(inner.output)
            names += [value.name for value in graph.output if value.name not in local]
    return list(dict.fromkeys(names))


def ancestors(model: ModelProto, outputs: Collection[str], stop: Collection[str] = ()) -> set[str]:
    """Return all tensors that `outputs` depend on, including themselves, weights and inputs.

    The walk goes no further back than the tensors in `stop`.
    """
    computed_by, found, pending = producers(model), set(), list(outputs)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        if name not in stop and name in computed_by:
            pending += node_inputs(computed_by[name])
    return found


def constants(model: ModelProto) -> set[str]:
    """Return the tensors that no input can change: weights and what is computed from them alone."""
    known = {tensor.name for tensor in model.graph.initializer}
    known |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for node in model.graph.node:
        if node.op_type not in RANDOM and known.issuperset(node_inputs(node)):
            known.update(name for name in node.output if name)
    return known


def constant_values(model: ModelProto) -> dict[str, np.ndarray]:
    """Return the content of weights and Constant nodes, and of Identity nodes that copy them."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type == "Constant":
            (constant,) = onnx_ir.from_proto(node).outputs
            values[node.output[0]] = onnx_ir.convenience.get_const_tensor(constant).numpy()
    return values


def float_tensors(model: ModelProto, values: Mapping[str, np.ndarray]) -> dict[str, NodeProto]:
    """Map the computed float32 tensors among `values`, in topological order, to their nodes."""
    return {
        name: node
        for name, node in producers(model).items()
        if name in values and values[name].dtype == np.float32
    }


def dominators(model: ModelProto, output: str, floats: Collection[str]) -> list[str]:
    """Return the tensors that every path of `floats` from an input to `output` passes, in order.

    Right after the node that computes such a tensor, no other float tensor is needed any more.
    Integers do not count as paths: an image's size, which a Resize far below reads, bypasses
    everything.
    """
    needed, order = ancestors(model, [output]), list(producers(model).items())
    last_use = {
        name: place
        for place, (computed, node) in enumerate(order)
        if computed in needed
        for name in node_inputs(node)
    }
    last_use[output] = len(order)
    live = {name for name in input_names(model) if name in last_use and name in floats}
    found = []
    for place, (name, _) in enumerate(order):
        live = {other for other in live if last_use[other] > place}
        if name in needed and name in floats:
            live.add(name)
            if len(live) == 1:
                found.append(name)
    return found
