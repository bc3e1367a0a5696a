"""Where an exported graph parts from the PyTorch network: hooks on the modules, in the order in
which they end, against the tensors of the nodes that the exporter says are theirs."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from parity.faults.fault import Fault
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import (
    ancestors,
    constants,
    float_tensors,
    node_name,
    output_names,
    producers,
    source_module,
)
from parity.networks.network import Logits


@dataclass
class Call:
    """One call of a module: its name in the network, its class, its output (float32)."""

    module: str
    kind: str
    output: np.ndarray


@dataclass
class ModuleFault:
    """The first call whose output no tensor of its module has; `tensor` is the one that should.

    `nodes` are the tensors, in topological order, made between the last that agree and that one.
    """

    call: Call
    tensor: str
    difference: Difference
    nodes: list[str]


def module_calls(network: Logits, blob: np.ndarray) -> tuple[list[Call], np.ndarray]:
    """What each module of a network in `Logits` returned, by its name in that network, in the order
    in which they ended, and the logits."""
    calls: list[Call] = []

    def note(name: str):
        def hook(module: nn.Module, _: object, output: object) -> None:
            if torch.is_tensor(output) and output.dtype == torch.float32:
                calls.append(Call(name, type(module).__name__, output.clone().numpy()))

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in network.network.named_modules()
        if name
    ]
    try:
        with torch.inference_mode():
            output = network(torch.from_numpy(blob)).numpy()
    finally:
        for hook in hooks:
            hook.remove()
    return calls, output


def scopes(model: ModelProto, names: Collection[str], known: Collection[str]) -> dict[str, str]:
    """The module of each tensor. TorchScript numbers a module's later calls (relu_1)."""
    found = {}
    for name, node in producers(model).items():
        if name not in names:
            continue
        module = source_module(node)[0] or ""
        if module not in known:
            module = re.sub(r"_\d+$", "", module)
        found[name] = module
    return found


def check_modules(
    calls: list[Call], model: ModelProto, values: Mapping[str, np.ndarray], limit: float
) -> tuple[ModuleFault | None, dict[str, Difference]]:
    """The first module that the graph does not agree with, and the difference at each tensor
    that was compared.

    A call is right where any tensor of its module agrees, and wrong where there are tensors of its
    shape and none does. Of a module without a tensor of its own, as of a convolution into which
    the exporter folded batch norm, nothing is said.
    """
    of = scopes(model, float_tensors(model, values), {call.module for call in calls})
    total, done = Counter((call.module, call.output.shape) for call in calls), Counter()
    errors: dict[str, Difference] = {}
    right: set[str] = set()
    faults: list[tuple[Call, str]] = []
    for call in calls:
        inside = [
            name
            for name, module in of.items()
            if (module == call.module or module.startswith(f"{call.module}."))
            and values[name].shape == call.output.shape
        ]
        key = call.module, call.output.shape
        done[key] += 1
        if not inside:
            continue
        found = {name: compare(values[name], call.output) for name in inside}
        agreeing = {name for name, error in found.items() if error.rel <= limit}
        right |= agreeing
        # The last tensor of this call, where a module's calls have as many each.
        own = inside[max(len(inside) * done[key] // total[key], 1) - 1]
        errors |= {name: found[name] for name in agreeing or {own}.difference(right)}
        if not agreeing and own not in right:
            faults.append((call, own))
    # What is right was computed of right tensors: a module whose own output the exporter folded
    # into the next one only looks wrong.
    used = ancestors(model, right)
    for call, tensor in faults:
        if tensor not in used:
            nodes = between(model, of, right, tensor)
            return ModuleFault(call, tensor, errors[tensor], nodes), errors
    return None, errors


def between(
    model: ModelProto, floats: Iterable[str], right: Collection[str], tensor: str
) -> list[str]:
    """Those of `floats` that a tensor is computed of, it included, behind those that are right."""
    stop = {*right, *constants(model)}
    found = ancestors(model, [tensor], stop) - stop
    return [name for name in floats if name in found]


def locate_in_modules(
    calls: list[Call],
    output: np.ndarray,
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    limit: float,
) -> Fault:
    """The first module whose output the file does not give; its `output` is known to differ."""
    found, errors = check_modules(calls, model, values, limit)
    last, made = output_names(model)[0], producers(model)
    order = list(float_tensors(model, values))
    name = found.tensor if found else last
    reference = found.call.output if found else output
    right = {one for one, error in errors.items() if error.rel <= limit and one != last}
    nodes = found.nodes if found else between(model, order, right, last)
    others = [node_name(made[one]) for one in nodes if one != name]
    how = f"by the output of {found.call.module if found else 'the network'}, "
    if others:
        how += f"or before it by {', '.join(others)}, with which no module's output can be compared"
    else:
        how += "while what the node reads agrees"
    return Fault(
        owner="export",
        sides=("ONNX Runtime", "PyTorch"),
        node=made[name],
        output=name,
        difference=compare(values[name], reference),
        reference=reference,
        limit=limit,
        order=order,
        errors=errors | {last: compare(values[last], output)},
        confirmed=not others,
        how=how,
        window=[node_name(made[one]) for one in nodes],
        module=found.call.module if found else None,
    )
