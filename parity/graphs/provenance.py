"""Describe a node of an ONNX graph: its attributes, and the PyTorch module that it comes from."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto, TensorProto, helper

SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
WRAPPER = "parity.networks.network.Logits"


@dataclass
class NodeDescription:
    """A node in words: `inputs` as (name, shape), `module` its PyTorch module's name in the
    network, and `module_class`; None where unknown."""

    name: str
    op_type: str
    inputs: list[tuple[str, tuple[int, ...] | None]]
    attributes: dict[str, str]
    module: str | None
    module_class: str | None


def describe_node(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> NodeDescription:
    """Describe a node, with the shapes of its inputs."""
    module, module_class = source_module(node)
    return NodeDescription(
        name=node_name(node),
        op_type=node.op_type,
        inputs=[(name, shapes.get(name)) for name in node.input],
        attributes=dict(sorted(_attributes(node))),
        module=module,
        module_class=module_class,
    )


def node_name(node: NodeProto) -> str:
    """Return the name of a node, or of its first output where the node has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def source_module(node: NodeProto) -> tuple[str | None, str | None]:
    """Return the PyTorch module that a node comes from: its name in the network, and its class.

    The dynamo exporter writes both into the node's metadata, as a list from the network down to the
    operation. The TorchScript exporter writes the path of the module into the node's name
    (/layer1/layer1.0/conv1/Conv), where a container's child repeats the container. The project's
    own wrapper around an exported network, `Logits`, is left out.
    """
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    if SCOPES in metadata:
        scopes, classes = _list(metadata[SCOPES]), _list(metadata.get(CLASSES, ""))
        name, kind = (scopes[-2] if scopes[1:] else None), (classes[-2] if classes[1:] else None)
        return (_unwrapped(name) if name and classes[:1] == [WRAPPER] else name), kind
    path: list[str] = []
    for step in node.name.split("/")[1:-1]:
        if path and step.startswith(f"{path[-1]}."):
            path.pop()
        path.append(step)
    return (_unwrapped(".".join(path)) or None), None


def _attributes(node: NodeProto) -> Iterator[tuple[str, str]]:
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, TensorProto):
            value = f"tensor {tuple(value.dims)}"
        elif isinstance(value, onnx.GraphProto):
            value = f"graph of {len(value.node)} nodes"
        yield attribute.name, value.decode() if isinstance(value, bytes) else str(value)


def _unwrapped(name: str) -> str:
    return name.partition(".")[2] if name.partition(".")[0] == "network" else name


def _list(text: str) -> list[str]:
    try:
        return list(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):  # written by another exporter
        return []
