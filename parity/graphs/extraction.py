"""Cut a part out of an ONNX graph.

The part keeps the file's own nodes and weights, byte for byte and in their order, because an engine
is judged by it. onnx-ir's extraction orders weights arbitrarily, and its clean-up rewrites nodes.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from parity.graphs.graph import ancestors, input_names, producers

Shape = tuple[int | str, ...]  # a name stands for a length that is known at run time only
Types = Mapping[str, ValueInfoProto]


def cut(
    model: ModelProto,
    inputs: Mapping[str, np.ndarray | Shape],
    outputs: Sequence[str],
    frozen: Mapping[str, np.ndarray] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
    for_onnxruntime: bool = False,
) -> ModelProto:
    """Return the part of a model between `inputs` and `outputs`, without what these do not need.

    `inputs` become its inputs, with the type and shape of the array or with the given shape, and
    `frozen` become weights, each only if `outputs` need it. Inputs of the model that are still
    needed stay. `values` supply the types that the file lacks. Nodes keep their order, names and
    metadata.

    Raises ValueError when no node of the part computes an output, or the part is not valid ONNX.
    With `for_onnxruntime`, which infers types itself, outputs are untyped and nothing is checked.
    """
    frozen, computed_by = frozen or {}, producers(model)
    for name in outputs:
        if name not in computed_by or name in inputs or name in frozen:
            raise ValueError(f"{name}: no node of the part computes it")
    kept = ancestors(model, outputs, stop={*inputs, *frozen})
    computed = kept - inputs.keys() - frozen.keys()
    new_inputs = [name for name in inputs if name in kept]
    types = _types(model, (*inputs, *outputs), values or {})
    part = ModelProto(
        ir_version=max(model.ir_version, 4),  # before 4, weights had to be inputs as well
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        opset_import=model.opset_import,
        functions=model.functions,
    )
    whole, graph = model.graph, part.graph
    graph.name = whole.name or "graph"
    graph.node.extend(node for node in whole.node if computed.intersection(node.output))
    graph.initializer.extend(one for one in whole.initializer if one.name in computed)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in frozen.items()
        if name in kept
    )
    graph.sparse_initializer.extend(
        one for one in whole.sparse_initializer if one.values.name in computed
    )
    graph.input.extend(_input(name, inputs[name], types) for name in new_inputs)
    graph.input.extend(types[name] for name in input_names(model) if name in computed)
    if for_onnxruntime:
        graph.output.extend(ValueInfoProto(name=name) for name in outputs)
        return part
    graph.output.extend(_output(name, types, keep_shape=not new_inputs) for name in outputs)
    if not new_inputs:  # otherwise the shapes that the file states may no longer hold
        inner = kept.difference(outputs)
        graph.value_info.extend(info for info in whole.value_info if info.name in inner)
    _complete(part)
    return part


def keep_output(model: ModelProto, output: str) -> None:
    """Remove a model's other outputs, with the nodes and weights that only these need: an engine
    may return any of several outputs as the first.

    A model of one output stays as it is.
    """
    graph = model.graph
    if len(graph.output) == 1:
        return
    needed = ancestors(model, [output]).union(value.name for value in graph.input)
    for field, is_kept in (
        (graph.output, lambda value: value.name == output),
        (graph.value_info, lambda value: value.name in needed),
        (graph.initializer, lambda tensor: tensor.name in needed),
        (graph.sparse_initializer, lambda tensor: tensor.values.name in needed),
        (graph.node, lambda node: not needed.isdisjoint(node.output)),
    ):
        kept = [one for one in field if is_kept(one)]
        del field[:]
        field.extend(kept)


def _types(model: ModelProto, names: Iterable[str], values: Mapping[str, np.ndarray]) -> Types:
    """Collect the types that the file states, completed for `names` from their values."""
    graph = model.graph
    infos = (*graph.value_info, *graph.output, *graph.input)
    types = {info.name: info for info in infos if info.type.HasField("tensor_type")}
    for name in names:
        if name in values and not _has_shape(types.get(name)):
            kind = helper.np_dtype_to_tensor_dtype(values[name].dtype)
            lengths = [None] * values[name].ndim
            types[name] = helper.make_tensor_value_info(name, kind, lengths)
    return types


def _input(name: str, like: np.ndarray | Shape, types: Types) -> ValueInfoProto:
    if isinstance(like, np.ndarray):
        kind = helper.np_dtype_to_tensor_dtype(like.dtype)
        return helper.make_tensor_value_info(name, kind, like.shape)
    return helper.make_tensor_value_info(name, _element_type(name, types), like)


def _output(name: str, types: Types, keep_shape: bool) -> ValueInfoProto:
    if not _has_shape(types.get(name)):
        return helper.make_tensor_value_info(name, _element_type(name, types), None)
    if keep_shape:
        return types[name]
    lengths = [None] * len(types[name].type.tensor_type.shape.dim)
    return helper.make_tensor_value_info(name, _element_type(name, types), lengths)


def _has_shape(info: ValueInfoProto | None) -> bool:
    return info is not None and info.type.tensor_type.HasField("shape")


def _element_type(name: str, types: Types) -> int:
    return types[name].type.tensor_type.elem_type if name in types else TensorProto.FLOAT


def _complete(part: ModelProto) -> None:
    """Infer the shapes of the outputs where they are unknown, and check the whole."""
    try:
        if not all(map(_has_shape, part.graph.output)):
            inferred = onnx.shape_inference.infer_shapes(part).graph.output
            del part.graph.output[:]
            part.graph.output.extend(inferred)
        onnx.checker.check_model(part)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"the cut is not valid ONNX: {error}") from None
