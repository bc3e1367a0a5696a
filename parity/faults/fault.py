"""What was found: the node, both outputs, who owns it, and how sure that is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto

from parity.graphs.difference import Difference, statistics
from parity.graphs.graph import constant_values, describe_node, node_name

UNKNOWN = "unknown"  # of a fault whose node cannot be told; null would say that there is none


@dataclass
class Fault:
    """The first tensor that is wrong.

    `sides` names candidate and reference, `node` is the one to blame or None where that cannot be
    told, `output` the tensor where it shows, `errors` what was measured at the tensors of `order`.
    `how` says how the node was confirmed, `window` names the nodes that show the fault.
    """

    owner: str
    sides: tuple[str, str]
    node: NodeProto | None
    output: str
    difference: Difference
    reference: np.ndarray | None
    limit: float
    order: Sequence[str]
    errors: Mapping[str, Difference]
    confirmed: bool
    how: str
    window: list[str] = field(default_factory=list)
    module: str | None = None
    unstable: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        if self.node is None:
            return f"at {self.output}, of no node that can be told"
        return f"{node_name(self.node)} ({self.node.op_type})"


def unlocated(
    owner: str, sides: tuple[str, str], output: str, difference: Difference, limit: float
) -> Fault:
    """A fault of which nothing is known but that an output differs."""
    return Fault(
        owner=owner,
        sides=sides,
        node=None,
        output=output,
        difference=difference,
        reference=None,
        limit=limit,
        order=[],
        errors={},
        confirmed=False,
        how="not located",
    )


def fault_lines(
    fault: Fault, model: ModelProto, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """A fault for a person; `shapes` are those of the tensors that depend on the input."""
    candidate, reference = fault.sides
    rows = [("output", fault.output)]
    if fault.node is not None:
        known = {name: value.shape for name, value in constant_values(model).items()} | dict(shapes)
        text = describe_node(fault.node, known)
        inputs = [f"{name} {shape or '()'}" if name else "-" for name, shape in text.inputs]
        attributes = [f"{name}={value}" for name, value in text.attributes.items()]
        module = fault.module or text.module
        kind = f" ({text.module_class})" if text.module_class and module == text.module else ""
        rows += [
            ("inputs", ", ".join(inputs) or "none"),
            ("attributes", ", ".join(attributes) or "none"),
            ("module", f"{module}{kind}" if module else "not written in the file"),
        ]
    rows += [
        (reference, statistics(fault.reference)),
        (candidate, statistics(fault.difference.candidate)),
        ("difference", f"{fault.difference.text()}; limit {fault.limit:g}"),
        ("owner", fault.owner),
        ("evidence", fault.how),
    ]
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"first that differs: {fault.title}"]
    lines += [f"  {name:{width}}{text}" for name, text in rows]
    return lines + [f"  note: {note}" for note in fault.notes]


def fault_json(fault: Fault | None, module: str | None = None) -> str:
    """One line of JSON; `rel` is null where it is infinite."""
    if fault is None:
        return json.dumps({"node": None})
    node = fault.node
    content = {
        "node": UNKNOWN if node is None else node_name(node),
        "op_type": UNKNOWN if node is None else node.op_type,
        "output": fault.output,
        "rel": fault.difference.finite_rel,
        "owner": fault.owner,
        "kind": fault.difference.kind,
        "message": fault.difference.message,
        "module": module,
        "confirmed": fault.confirmed,
        "evidence": fault.how,
        "window": fault.window,
        "unstable": fault.unstable,
        "environment": fault.environment,
        "limit": fault.limit,
    }
    return json.dumps(content, ensure_ascii=False)
