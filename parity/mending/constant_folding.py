"""A value that no input of the model reaches, written as a constant.

Pattern: a tensor, the only output of a node that reads constants, directly or through other such
nodes. Another kind of node reads the tensor, or the model returns it. The rule leaves out random
nodes, nodes with subgraphs, nodes outside of ONNX's domain, and DequantizeLinear, which marks a
quantized weight.

Replacement: a Constant with the value that ONNX Runtime computes.

Why it is the same function: the value is the same in each run, NaN and infinity included. An engine
that rounds in another way than ONNX Runtime agrees with the constant within rounding.

Fault: OpenCV 4.13 and 4.14, classic engine, cannot read the relative position bias of swin_v2:
"shape[i] == 1 || outShape[i] == 1" at the Add of two constants.
"""

import onnx_ir as ir
from onnx_ir.convenience import extract, replace_nodes_and_values

from parity.backends.onnxruntime import run_onnxruntime
from parity.mending.rule import KnownFault, Places, Rule, remove_unused
from parity.mending.values import constant_of

KEPT = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
    "DequantizeLinear",
}


def _apply(model: ir.Model, places: Places) -> list[str]:
    values = [one for one in _folded(model.graph) if places is None or one.name in places]
    for value, tensor in _computed(model, values):
        node = value.producer()
        constant = ir.node("Constant", [], {"value": tensor}, version=node.version)
        replace_nodes_and_values(model.graph, node, [node], [constant], [value], constant.outputs)
    return remove_unused(model, [value.name for value in values])


def _folded(graph: ir.Graph) -> list[ir.Value]:
    """Return the values that the rule replaces, in the order of the nodes."""
    constant_nodes: dict[ir.Node, None] = {}
    for node in graph:
        if _is_deterministic(node) and all(
            value is None or value.producer() in constant_nodes or constant_of(value) is not None
            for value in node.inputs
        ):
            constant_nodes[node] = None

    def is_read(value: ir.Value) -> bool:
        return value.is_graph_output() or not constant_nodes.keys() >= {*value.consumers()}

    values = [node.outputs[0] for node in constant_nodes if len(node.outputs) == 1]
    return [one for one in values if isinstance(one.type, ir.TensorType) and is_read(one)]


def _is_deterministic(node: ir.Node) -> bool:
    subgraphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    has_subgraph = any(one.type in subgraphs for one in node.attributes.values())
    return not node.domain and node.op_type not in {"Constant", *KEPT} and not has_subgraph


def _computed(model: ir.Model, values: list[ir.Value]) -> list[tuple[ir.Value, ir.Tensor]]:
    if not values:
        return []
    names = [value.name for value in values]
    part = ir.Model(extract(model.graph, [], values), ir_version=model.ir_version)
    part.opset_imports.update(model.opset_imports)
    results = run_onnxruntime(ir.serde.serialize_model(part), {}, names)
    return [(value, ir.tensor(results[value.name])) for value in values]


RULE = Rule(
    "constant_folding",
    False,
    KnownFault("operators on constants are refused", "4.13", "4.14", ("classic",)),
    _apply,
    rounds_constants=True,
)
