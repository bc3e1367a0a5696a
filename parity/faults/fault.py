"""What a search found: the node, both outputs, whose fault it is, and how certain that is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto

from parity.graphs.difference import Difference, statistics_text
from parity.graphs.graph import constant_values
from parity.graphs.provenance import describe_node, node_name

UNKNOWN = "unknown"  # the node of a fault that was not located; null means that there is no fault


@dataclass
class Fault:
    """The first wrong tensor.

    `sides` names candidate and reference, `owner` is `export` or `engine`. `node` is the node to
    blame, None where it is unknown, and `output` the tensor that shows the fault. `errors` are the
    measured differences, at tensors of `order`, and `limits` the limits there. `noise` is the error
    that rounding explains at `output`, None where it is unknown. `evidence` says how the node was
    confirmed, and `window` names the nodes that show the fault.
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
    evidence: str
    noise: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    window: list[str] = field(default_factory=list)
    module: str | None = None
    unstable: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def exactness(self) -> float | None:
        """The difference by the error that rounding explains; None without either."""
        rel = self.difference.finite_rel
        return None if rel is None or self.noise is None else rel / self.noise

    @property
    def title(self) -> str:
        if self.node is None:
            return f"at {self.output}, node unknown"
        return f"{node_name(self.node)} ({self.node.op_type})"


def unlocated_fault(
    owner: str, sides: tuple[str, str], output: str, difference: Difference, limit: float
) -> Fault:
    """Return a fault of which only the differing output is known."""
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
        evidence="not located",
    )


def fault_lines(
    fault: Fault, model: ModelProto, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Describe a fault for a person; `shapes` are those of the tensors that the input changes."""
    candidate, reference = fault.sides
    rows = [("output", fault.output)]
    if fault.node is not None:
        known = {name: value.shape for name, value in constant_values(model).items()} | dict(shapes)
        node = describe_node(fault.node, known)
        inputs = [f"{name} {shape or '()'}" if name else "-" for name, shape in node.inputs]
        attributes = [f"{name}={value}" for name, value in node.attributes.items()]
        module = fault.module or node.module
        kind = f" ({node.module_class})" if node.module_class and module == node.module else ""
        rows += [
            ("inputs", ", ".join(inputs) or "none"),
            ("attributes", ", ".join(attributes) or "none"),
            ("module", f"{module}{kind}" if module else "not stated in the file"),
        ]
    rows += [
        (reference, statistics_text(fault.reference)),
        (candidate, statistics_text(fault.difference.candidate)),
        ("difference", f"{fault.difference.text()}; limit {fault.limit:.3g}{_exactness(fault)}"),
        ("owner", fault.owner),
        ("evidence", fault.evidence),
    ]
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"first difference: {fault.title}"]
    lines += [f"  {name:{width}}{text}" for name, text in rows]
    return lines + [f"  note: {note}" for note in fault.notes]


def _exactness(fault: Fault) -> str:
    if fault.exactness is None:
        return ""
    return f"; {fault.exactness:.3g} times what rounding explains here"


def fault_json(fault: Fault | None, module: str | None = None) -> str:
    """Return a fault as one line of JSON, with `rel` null where it is infinite."""
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
        "evidence": fault.evidence,
        "window": fault.window,
        "unstable": fault.unstable,
        "environment": fault.environment,
        "limit": fault.limit,
        "exactness": fault.exactness,
    }
    return json.dumps(content, ensure_ascii=False)
