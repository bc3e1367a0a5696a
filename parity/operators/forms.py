"""Further forms of a case: what is fed as a constant of the file, and the other way round.

OpenCV takes other ways for constants than for values that arise while the network runs.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from parity.operators.case import Case

FLOAT = TensorProto.FLOAT
CAST_OPSET = 6  # from here on Cast names its type by number


def with_forms(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield each case and the forms of it that differ.

    "constants": the first float32 input, or else the first, stays; all others become initializers.
    "computed": initializers, the outputs of Constant nodes and all inputs that are not float32
    arrive as float32 inputs, and a Cast makes their type. Only graphs of one operator and one run
    have forms: in larger ones the constants belong to several nodes.
    """
    for case in cases:
        yield case
        if has_forms(case):
            yield from filter(None, (as_constants(case), as_computed(case)))


def has_forms(case: Case) -> bool:
    operators = [node for node in case.model.graph.node if node.op_type != "Constant"]
    tensors = all(
        isinstance(one, np.ndarray) and one.dtype.kind not in "OSU"
        for run in case.inputs
        for one in run.values()
    )
    return len(operators) == 1 and len(case.inputs) == 1 and tensors


def as_constants(case: Case) -> Case | None:
    """Return the case with initializers in place of inputs; None where it has fewer than two."""
    (feeds,) = case.inputs
    floats = [name for name, value in feeds.items() if value.dtype == np.float32]
    if len(feeds) < 2:
        return None
    (kept, *_) = floats or feeds
    model = _copy(case.model)
    for name, value in feeds.items():
        if name != kept:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    if model.ir_version >= 4:  # older files list initializers as inputs too
        _drop_inputs(model, feeds.keys() - {kept})
    return replace(case, model=model, inputs=[{kept: feeds[kept]}], form="constants")


def as_computed(case: Case) -> Case | None:
    """Return the case with computed values in place of constants and of inputs in other types than
    float32; None where there are none, or where float32 cannot hold them."""
    (feeds,) = case.inputs
    model = _copy(case.model)
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Constant"]
    for node in nodes:
        (attribute,) = node.attribute
        if attribute.name != "value":
            return None
        constants[node.output[0]] = numpy_helper.to_array(attribute.t)
        model.graph.node.remove(node)
    values = constants | {name: value for name, value in feeds.items() if value.dtype != np.float32}
    if not values or not all(map(_float32_holds, values.values())):
        return None
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in values.items()}
    if set(types.values()) != {FLOAT} and _opset(model) < CAST_OPSET:
        return None
    del model.graph.initializer[:]
    _drop_inputs(model, values)
    casts, fed = [], {}
    for name, value in values.items():
        source = name if types[name] == FLOAT else f"{name}/fed"
        fed[source] = value.astype(np.float32)
        model.graph.input.append(helper.make_tensor_value_info(source, FLOAT, value.shape))
        if source != name:
            casts.append(helper.make_node("Cast", [source], [name], to=types[name]))
    operators = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(operators)
    kept = {name: value for name, value in feeds.items() if name not in values}
    return replace(case, model=model, inputs=[kept | fed], form="computed")


def _float32_holds(value: np.ndarray) -> bool:
    if value.dtype.kind in "OSUc":
        return False
    with np.errstate(all="ignore"):
        back = value.astype(np.float32).astype(value.dtype)
    return bool(np.all((back == value) | ((back != back) & (value != value))))


def _opset(model: ModelProto) -> int:
    return max((one.version for one in model.opset_import if not one.domain), default=0)


def _drop_inputs(model: ModelProto, names: Collection[str]) -> None:
    kept = [one for one in model.graph.input if one.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
