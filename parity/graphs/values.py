"""Compute every tensor of an ONNX graph in ONNX Runtime, without graph optimisation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.extraction import cut
from parity.graphs.graph import ancestors, constants, input_names, output_names, producers


@dataclass
class ComputedValues:
    """The tensors of a model, complete or up to the node that ONNX Runtime fails at."""

    values: dict[str, np.ndarray]
    failed_at: NodeProto | None = None
    failure: BackendFailure | None = None


def all_values(
    model: ModelProto, feeds: Mapping[str, np.ndarray], with_constants: bool = False
) -> dict[str, np.ndarray]:
    """Compute every tensor that depends on the inputs and that an output needs, inputs included.

    The tensors come in topological order. `with_constants` adds what nodes compute from constants
    alone. Raises BackendFailure when ONNX Runtime refuses the model or the feeds.
    """
    needed = ancestors(model, output_names(model))
    left_out = set() if with_constants else constants(model)
    names = [name for name in producers(model) if name in needed and name not in left_out]
    inputs = {name: feeds[name] for name in input_names(model)}
    values = compute_tensors(model, inputs, names)
    return inputs | {name: one for name, one in values.items() if isinstance(one, np.ndarray)}


def compute_tensors(
    model: ModelProto, feeds: Mapping[str, np.ndarray], names: list[str]
) -> dict[str, np.ndarray]:
    """Compute tensors from the middle of a model.

    Raises BackendFailure when ONNX Runtime refuses the model or the feeds.
    """
    exposed = ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    # ONNX Runtime infers the types.
    exposed.graph.output.extend(ValueInfoProto(name=name) for name in names)
    return run_onnxruntime(exposed, feeds, names)


def compute_values(model: ModelProto, feeds: Mapping[str, np.ndarray]) -> ComputedValues:
    """Compute all tensors; where ONNX Runtime fails, those before the node that it fails at.

    Bisection finds that node: the nodes before it run, with it they do not.
    """
    try:
        return ComputedValues(all_values(model, feeds))
    except BackendFailure as failure:
        found = ComputedValues({name: feeds[name] for name in input_names(model)}, None, failure)
    fixed, needed = constants(model), ancestors(model, output_names(model))
    nodes = [
        node
        for node in model.graph.node
        if any(name in needed and name not in fixed for name in node.output)
    ]
    runs, fails = 0, len(nodes)
    while fails - runs > 1:
        middle = (runs + fails) // 2
        names = [name for node in nodes[:middle] for name in node.output if name in needed]
        try:
            found.values = all_values(cut(model, {}, names, for_onnxruntime=True), feeds)
            runs = middle
        except BackendFailure as failure:
            found.failure, fails = failure, middle
    found.failed_at = nodes[fails - 1] if nodes else None
    return found
