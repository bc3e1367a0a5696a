"""A sketch: a small graph with the values of its inputs and constants, before it is a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.graph import node_inputs

OPSET = 18
# The first opset that each IR version may hold is no matter here: OpenCV reads them all.
IR_VERSION = 10


@dataclass(frozen=True)
class Sketch:
    """A small graph: its nodes in topological order, the values of its inputs and constants by
    name, and the names of its outputs. `label` says what was done to it."""

    nodes: tuple[NodeProto, ...]
    inputs: Mapping[str, np.ndarray]
    constants: Mapping[str, np.ndarray]
    outputs: tuple[str, ...] = ("y",)
    opset: int = OPSET
    label: str = ""

    def with_nodes(self, nodes: Iterable[NodeProto], label: str, **changes: object) -> "Sketch":
        """Return a sketch of other nodes, without the nodes, inputs and constants that no output
        needs."""
        return replace(self, nodes=tuple(nodes), label=label, **changes)._pruned()

    def _pruned(self) -> "Sketch":
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed & {*node.output}:
                kept.append(node)
                needed |= {*node_inputs(node)}
        return replace(
            self,
            nodes=tuple(reversed(kept)),
            inputs={name: one for name, one in self.inputs.items() if name in needed},
            constants={name: one for name, one in self.constants.items() if name in needed},
        )

    def readers(self, name: str) -> list[tuple[int, int]]:
        """Return the places that read a tensor: of the node, and among its inputs."""
        return [
            (place, number)
            for place, node in enumerate(self.nodes)
            for number, one in enumerate(node.input)
            if one == name
        ]

    def fresh_name(self, stem: str) -> str:
        """Return a name that no tensor has."""
        used = {*self.inputs, *self.constants} | {n for node in self.nodes for n in node.output}
        return next(
            name for name in (stem, *map(f"{stem}{{}}".format, range(99))) if name not in used
        )

    def values(self) -> dict[str, np.ndarray]:
        """Return the inputs and what ONNX Runtime computes from them; raises BackendFailure."""
        names = [name for node in self.nodes for name in node.output if name]
        found = run_onnxruntime(self._model(names), self.inputs, names)
        return {**self.inputs, **found}

    def run(self) -> tuple[ModelProto, dict[str, np.ndarray]] | None:
        """Return the model, and its outputs in ONNX Runtime, whose types it declares; None where
        that refuses it, or an output is empty."""
        model = self._model(self.outputs)
        try:
            found = run_onnxruntime(model, self.inputs, self.outputs)
        except BackendFailure:
            return None
        if not all(one.size for one in found.values()):
            return None
        del model.graph.output[:]
        model.graph.output.extend(_declared(name, found[name]) for name in self.outputs)
        return model, found

    def _model(self, outputs: Sequence[str]) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "variation",
            [_declared(name, value) for name, value in self.inputs.items()],
            [ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
            doc_string=self.label,
        )
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def _declared(name: str, value: np.ndarray) -> ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)


def parse_nodes(body: str) -> tuple[NodeProto, ...]:
    """Return the nodes of a text in ONNX's own syntax: `t = Tanh(x) y = Mul(x, t)`."""
    text = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>'
    text += f"variation (float[N] x) => (float[N] y) {{ {body} }}"
    return tuple(onnx.parser.parse_model(text).graph.node)
