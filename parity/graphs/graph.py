"""Surgery on ONNX graphs: constants, order, what every path passes, cuts, and what a node says.

A tensor is known by its name. Where a graph has subgraphs (If, Loop), what these take from outside
counts as an input of their node, and they are kept whole.
"""

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from parity.backends.onnxruntime import run_onnxruntime
from parity.core.cli import InputError

SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
WRAPPER = "parity.networks.network.Logits"
RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial")


@dataclass
class NodeText:
    """What can be said of a node: `inputs` as (name, shape), `module` the PyTorch module that it
    comes from, by its name in the network, and `module_class`; None where nothing is known."""

    name: str
    op_type: str
    inputs: list[tuple[str, tuple[int, ...] | None]]
    attributes: dict[str, str]
    module: str | None
    module_class: str | None


def load_model(path: Path) -> ModelProto:
    """Read an ONNX file as it is: a shape that is added may change what an engine makes of it.

    Raises InputError when there is no such file, or it is no valid ONNX.
    """
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        return model
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # of protobuf, of the checker, of external data
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a valid ONNX file: {reason}") from None


def input_names(model: ModelProto) -> list[str]:
    """The inputs that a user feeds; old files list their weights among the inputs as well."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


def output_names(model: ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


def node_inputs(node: NodeProto) -> list[str]:
    """The tensors that a node reads, those that its subgraphs take from outside included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                names += [name for name in node_inputs(inner) if name not in own]
                own.update(inner.output)
            names += [value.name for value in graph.output if value.name not in own]
    return list(dict.fromkeys(names))


def producers(model: ModelProto) -> dict[str, NodeProto]:
    """The node that makes each tensor, in the file's order, which is a topological one."""
    return {name: node for node in model.graph.node for name in node.output if name}


def consumers(model: ModelProto) -> dict[str, list[NodeProto]]:
    """The nodes that read each tensor."""
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node_inputs(node):
            found.setdefault(name, []).append(node)
    return found


def constants(model: ModelProto) -> set[str]:
    """The tensors that are the same whatever is fed: weights and what is computed of them alone."""
    known = {tensor.name for tensor in model.graph.initializer}
    known |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for node in model.graph.node:
        if node.op_type not in RANDOM and known.issuperset(node_inputs(node)):
            known.update(name for name in node.output if name)
    return known


def constant_values(model: ModelProto) -> dict[str, np.ndarray]:
    """The content of weights and Constant nodes, and of each Identity of one."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type == "Constant":
            values[node.output[0]] = _constant(node)
    return values


def _constant(node: NodeProto) -> np.ndarray:
    value = helper.get_attribute_value(node.attribute[0])
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    kind = node.attribute[0].name
    return np.array(value, np.float32 if "float" in kind else np.int64 if "int" in kind else None)


def ancestors(model: ModelProto, outputs: Collection[str], stop: Collection[str] = ()) -> set[str]:
    """The tensors that `outputs` are computed of, themselves included, no further back than
    `stop`: weights and inputs too."""
    made_by, found, todo = producers(model), set(), list(outputs)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        if name not in stop and name in made_by:
            todo += node_inputs(made_by[name])
    return found


def all_values(
    model: ModelProto, feeds: Mapping[str, np.ndarray], with_constants: bool = False
) -> dict[str, np.ndarray]:
    """Every tensor that depends on the inputs, those included, computed by ONNX Runtime as the
    file says: no graph optimisation. In topological order; what no output needs is left out.
    `with_constants`: what nodes make of constants alone, too.

    Raises BackendFailure when ONNX Runtime refuses the model or the feeds.
    """
    needed = ancestors(model, output_names(model))
    left_out = set() if with_constants else constants(model)
    names = [name for name in producers(model) if name in needed and name not in left_out]
    whole = ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.extend(ValueInfoProto(name=name) for name in names)  # ORT knows the types
    fed = {name: feeds[name] for name in input_names(model)}
    values = run_onnxruntime(whole, fed, names)
    return fed | {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def float_tensors(model: ModelProto, values: Mapping[str, np.ndarray]) -> dict[str, NodeProto]:
    """The float32 tensors among `values` that a node makes, in topological order, with the node."""
    return {
        name: node
        for name, node in producers(model).items()
        if name in values and values[name].dtype == np.float32
    }


def dominators(model: ModelProto, output: str, floats: Collection[str]) -> list[str]:
    """The tensors of `floats` that every path along such tensors from an input to `output` passes.

    Right behind the node that makes one, it is the only tensor that is still needed. Integers are
    no path: an image's size, which a Resize far below takes, goes round everything.
    """
    needed, order = ancestors(model, [output]), list(producers(model).items())
    last_use = {
        name: place
        for place, (made, node) in enumerate(order)
        if made in needed
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


def cut(
    model: ModelProto,
    inputs: Mapping[str, np.ndarray | tuple[int, ...]],
    outputs: Sequence[str],
    frozen: Mapping[str, np.ndarray] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
    for_onnxruntime: bool = False,
) -> ModelProto:
    """The part of a model between `inputs` and `outputs`, with nothing that these do not need.

    `inputs` become its inputs, of the shape that the array has or the tuple says; those that
    `outputs` do not need are left out. An input of the model that is needed all the same stays as
    it is. `frozen` become weights; `values` tell the types that the file does not. The nodes keep
    their order, names and metadata. `for_onnxruntime`, which finds types out by itself, outputs
    have none and nothing is checked. Raises ValueError when an output is not there or is itself an
    input, or the result is no valid ONNX.
    """
    frozen, types = frozen or {}, value_infos(model)
    for name in (*inputs, *outputs):
        if values and name in values and not _has_shape(types.get(name)):
            kind = helper.np_dtype_to_tensor_dtype(values[name].dtype)
            axes = [None] * values[name].ndim
            types[name] = helper.make_tensor_value_info(name, kind, axes)
    for name in outputs:
        if name not in producers(model) or name in inputs or name in frozen:
            raise ValueError(f"{name}: not a tensor that a node makes behind the cut")
    kept = ancestors(model, outputs, stop={*inputs, *frozen})
    made = {name for name in kept if name not in inputs and name not in frozen}
    part = _without_graph(model)
    part.ir_version = max(model.ir_version, 4)  # before, weights were inputs as well
    graph = part.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(node for node in model.graph.node if made.intersection(node.output))
    graph.initializer.extend(one for one in model.graph.initializer if one.name in made)
    sparse = (one for one in model.graph.sparse_initializer if one.values.name in made)
    graph.sparse_initializer.extend(sparse)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in frozen.items()
        if name in kept
    )
    given = [name for name in inputs if name in kept]
    graph.input.extend(_input(name, inputs[name], types) for name in given)
    graph.input.extend(types[name] for name in input_names(model) if name in made)
    if for_onnxruntime:
        graph.output.extend(ValueInfoProto(name=name) for name in outputs)
        return part
    graph.output.extend(_typed(name, types, keep_shape=not given) for name in outputs)
    if not given:  # else the shapes that the file tells may be others than those that it has now
        inner = kept.difference(outputs)
        graph.value_info.extend(one for one in model.graph.value_info if one.name in inner)
    try:
        if not all(_has_shape(one) for one in graph.output):
            inferred = onnx.shape_inference.infer_shapes(part).graph.output
            del graph.output[:]
            graph.output.extend(inferred)
        onnx.checker.check_model(part)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"the cut is no valid ONNX: {error}") from None
    return part


def _without_graph(model: ModelProto) -> ModelProto:
    """What a file says besides its graph: versions, functions, metadata."""
    return ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        opset_import=model.opset_import,
        functions=model.functions,
    )


def value_infos(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Type and shape of each tensor, as far as the file says it."""
    graph = model.graph
    infos = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: value for value in infos if value.type.HasField("tensor_type")}


def _input(
    name: str, like: np.ndarray | tuple[int, ...], types: Mapping[str, ValueInfoProto]
) -> ValueInfoProto:
    if isinstance(like, np.ndarray):
        kind = helper.np_dtype_to_tensor_dtype(like.dtype)
        return helper.make_tensor_value_info(name, kind, like.shape)
    return helper.make_tensor_value_info(name, _type(name, types), like)


def _typed(name: str, types: Mapping[str, ValueInfoProto], keep_shape: bool) -> ValueInfoProto:
    if not _has_shape(types.get(name)):
        return helper.make_tensor_value_info(name, _type(name, types), None)
    if keep_shape:
        return types[name]
    axes = len(types[name].type.tensor_type.shape.dim)
    return helper.make_tensor_value_info(name, _type(name, types), [None] * axes)


def _has_shape(info: ValueInfoProto | None) -> bool:
    return info is not None and info.type.tensor_type.HasField("shape")


def _type(name: str, types: Mapping[str, ValueInfoProto]) -> int:
    return types[name].type.tensor_type.elem_type if name in types else TensorProto.FLOAT


def save(model: ModelProto, path: Path) -> None:
    """Write a model; unlike `onnx.save`, without a temporary copy of external data."""
    path.write_bytes(model.SerializeToString())


def describe_node(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> NodeText:
    """What a node says of itself, with the shapes of its inputs."""
    module, module_class = source_module(node)
    return NodeText(
        name=node_name(node),
        op_type=node.op_type,
        inputs=[(name, shapes.get(name)) for name in node.input],
        attributes=dict(sorted(_attributes(node))),
        module=module,
        module_class=module_class,
    )


def node_name(node: NodeProto) -> str:
    """The name of a node, which may have none: then the tensor that it makes."""
    return node.name or next((name for name in node.output if name), node.op_type)


def _attributes(node: NodeProto) -> Iterator[tuple[str, str]]:
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, TensorProto):
            value = f"tensor {tuple(value.dims)}"
        elif isinstance(value, onnx.GraphProto):
            value = f"graph of {len(value.node)} nodes"
        yield attribute.name, value.decode() if isinstance(value, bytes) else str(value)


def source_module(node: NodeProto) -> tuple[str | None, str | None]:
    """The PyTorch module that a node comes from: its name in the network, and its class.

    The dynamo exporter writes both into the node's metadata, a list from the network down to the
    operation; the TorchScript exporter leaves the way to the module in the node's name
    (/layer1/layer1.0/conv1/Conv), where a container's entry repeats the container. What this
    project exports lies in its own `Logits`, whose name is left out.
    """
    known = {entry.key: entry.value for entry in node.metadata_props}
    if SCOPES in known:
        scopes, classes = _list(known[SCOPES]), _list(known.get(CLASSES, ""))
        name, kind = (scopes[-2] if scopes[1:] else None), (classes[-2] if classes[1:] else None)
        return (_unwrapped(name) if name and classes[:1] == [WRAPPER] else name), kind
    parts: list[str] = []
    for part in node.name.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return (_unwrapped(".".join(parts)) or None), None


def _unwrapped(name: str) -> str:
    return name.partition(".")[2] if name.partition(".")[0] == "network" else name


def _list(text: str) -> list[str]:
    try:
        return list(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):  # of another exporter
        return []
