"""Compute each tensor of a graph from given values of the tensors before it.

An error is then seen where it arises, and nowhere else.
"""

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from parity.graphs.extraction import cut

OWN = "{}#own"  # the name of what a node computes, where the graph goes on with another value


def forced(
    model: ModelProto, fed: Mapping[str, np.ndarray], outputs: Collection[str]
) -> tuple[ModelProto, dict[str, str]]:
    """Return the part of a model that computes `outputs`, with the tensors `fed` as inputs.

    Nodes that compute a fed tensor stay, but their outputs get other names. The returned dict maps
    `outputs` to the names in this part. Raises ValueError where no node computes an output.
    """
    part = cut(model, {}, list(outputs), for_onnxruntime=True)
    graph, own = part.graph, {name: name for name in outputs}
    del graph.value_info[:]
    computed = {name for node in graph.node for name in node.output}
    for name in computed & fed.keys():
        kind = helper.np_dtype_to_tensor_dtype(fed[name].dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, fed[name].shape))
    for node in graph.node:
        node.output[:] = [OWN.format(name) if name in fed else name for name in node.output]
    own |= {name: OWN.format(name) for name in outputs if name in fed}
    del graph.output[:]
    graph.output.extend(ValueInfoProto(name=name) for name in own.values())
    return part, own
