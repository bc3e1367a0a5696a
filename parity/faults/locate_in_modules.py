"""Find the first PyTorch module whose output the exported graph does not reproduce.

Hooks record the outputs of the modules. They are compared with the tensors of the nodes that the
exporter attributes to each module.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from parity.backends.float64 import run_float64
from parity.faults.fault import Fault
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import (
    ancestors,
    constants,
    float_tensors,
    input_names,
    output_names,
    producers,
)
from parity.graphs.provenance import node_name, source_module
from parity.graphs.tolerance import Tolerance
from parity.networks.network import Logits

SIDES = ("ONNX Runtime", "PyTorch")
# Of ONNX Runtime's rounding error, in float64: only the weights that an exporter computes are
# rounded there.
EXACT_FACTOR = 4.0


@dataclass
class Call:
    """One call of a module: its name in the network, its class, its output."""

    module: str
    kind: str
    output: np.ndarray


@dataclass
class ModuleFault:
    """The first call whose output no tensor of its module reproduces.

    `tensor` is the one that should, `nodes` the tensors, in topological order, that are computed
    between the last that agree and that one.
    """

    call: Call
    tensor: str
    difference: Difference
    nodes: list[str]


def run_network(network: Logits, blob: np.ndarray) -> np.ndarray:
    """Return the logits of a blob, of its dtype."""
    with torch.inference_mode():
        return network(torch.from_numpy(blob)).numpy()


def record_calls(network: Logits, blob: np.ndarray) -> tuple[list[Call], np.ndarray]:
    """Run a network and return the calls of its modules, in the order in which they returned, and
    the logits; both have the blob's dtype. Names are those in the wrapped network."""
    calls: list[Call] = []
    dtype = torch.from_numpy(blob).dtype

    def recorder(name: str):
        def hook(module: nn.Module, _: object, output: object) -> None:
            if torch.is_tensor(output) and output.dtype == dtype:
                calls.append(Call(name, type(module).__name__, output.clone().numpy()))

        return hook

    hooks = [
        module.register_forward_hook(recorder(name))
        for name, module in network.network.named_modules()
        if name
    ]
    try:
        output = run_network(network, blob)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, output


def source_modules(
    model: ModelProto, names: Collection[str], known: Collection[str]
) -> dict[str, str]:
    """Map tensors to their modules. TorchScript numbers a module's later calls (relu_1)."""
    found = {}
    for name, node in producers(model).items():
        if name not in names:
            continue
        module = source_module(node)[0] or ""
        found[name] = module if module in known else re.sub(r"_\d+$", "", module)
    return found


def check_modules(
    calls: list[Call],
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    floats: Collection[str],
    tolerance: Tolerance,
) -> tuple[ModuleFault | None, dict[str, Difference]]:
    """Find the first module that the graph does not reproduce, and the differences measured at the
    tensors `floats`.

    A call is right if any tensor of its module agrees with it, and wrong if tensors of its shape
    exist and none agrees. Modules without a tensor of their own are skipped, for example a
    convolution into which the exporter folded batch norm.
    """
    modules = source_modules(model, floats, {call.module for call in calls})
    total, done = Counter((call.module, call.output.shape) for call in calls), Counter()
    errors: dict[str, Difference] = {}
    right: set[str] = set()
    faults: list[tuple[Call, str]] = []
    for call in calls:
        inside = [
            name
            for name, module in modules.items()
            if (module == call.module or module.startswith(f"{call.module}."))
            and values[name].shape == call.output.shape
        ]
        key = call.module, call.output.shape
        done[key] += 1
        if not inside:
            continue
        found = {name: compare(values[name], call.output) for name in inside}
        agreeing = {name for name, error in found.items() if error.rel <= tolerance.at(name)}
        right |= agreeing
        # The last tensor of this call, assuming that a module's calls have equally many.
        own = inside[max(len(inside) * done[key] // total[key], 1) - 1]
        errors |= {name: found[name] for name in agreeing or {own}.difference(right)}
        if not agreeing and own not in right:
            faults.append((call, own))
    # Right tensors are computed from right tensors: a module whose own output the exporter folded
    # into the next one only looks wrong.
    used = ancestors(model, right)
    for call, tensor in faults:
        if tensor not in used:
            nodes = tensors_between(model, modules, right, tensor)
            return ModuleFault(call, tensor, errors[tensor], nodes), errors
    return None, errors


def tensors_between(
    model: ModelProto, floats: Iterable[str], right: Collection[str], tensor: str
) -> list[str]:
    """Return the tensors of `floats` between those that are right and `tensor`, itself included."""
    stop = {*right, *constants(model)}
    found = ancestors(model, [tensor], stop) - stop
    return [name for name in floats if name in found]


def locate_network(
    network: Logits,
    blob: np.ndarray,
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    tolerance: Tolerance,
) -> Fault:
    """Find the first module whose output the file does not reproduce, given that the logits of a
    blob (1, 3, H, W) differ. `values` are the file's tensors by ONNX Runtime.

    Both sides are computed in float64 where rounding is measured: what differs then is no rounding,
    except that of weights which the exporter computed, such as those with batch norm folded in.
    """
    order = list(float_tensors(model, values))
    if tolerance.noise is not None:
        feeds = {name: values[name] for name in input_names(model)}
        tolerance = replace(tolerance, factor=EXACT_FACTOR)
        values = {**values, **run_float64(model, feeds, order)}
        network, blob = network.double(), blob.astype(np.float64)
    calls, output = record_calls(network, blob)
    return locate_in_modules(calls, output, model, values, order, tolerance)


def locate_in_modules(
    calls: list[Call],
    output: np.ndarray,
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    order: list[str],
    tolerance: Tolerance,
) -> Fault:
    """Find the first module whose output the file does not reproduce, given that the network's
    `output` differs. `values` are the file's tensors, `order` those of floating point."""
    found, errors = check_modules(calls, model, values, order, tolerance)
    last, computed_by = output_names(model)[0], producers(model)
    name = found.tensor if found else last
    reference = found.call.output if found else output
    right = {one for one, error in errors.items() if error.rel <= tolerance.at(one) and one != last}
    nodes = found.nodes if found else tensors_between(model, order, right, last)
    others = [node_name(computed_by[one]) for one in nodes if one != name]
    evidence = f"by the output of {found.call.module if found else 'the network'}, "
    if others:
        evidence += f"or before it by {', '.join(others)}, which match no module's output"
    else:
        evidence += "while what the node reads agrees"
    return Fault(
        owner="export",
        sides=SIDES,
        node=computed_by[name],
        output=name,
        difference=compare(values[name], reference),
        reference=reference,
        limit=tolerance.at(name),
        noise=tolerance.noise_at(name),
        order=order,
        errors=errors | {last: compare(values[last], output)},
        limits={one: tolerance.at(one) for one in order},
        confirmed=not others,
        evidence=evidence,
        window=[node_name(computed_by[one]) for one in nodes],
        module=found.call.module if found else None,
    )
