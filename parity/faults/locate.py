"""Locate a fault: the first node whose output is wrong, and whether exporter or engine owns it.

For a model of params.yaml, the ONNX file is compared with the PyTorch network (owner `export`),
then OpenCV with ONNX Runtime (owner `engine`). For two files, the candidate is compared with the
reference, both in ONNX Runtime (`export`), then OpenCV with ONNX Runtime on the candidate.

What rounding explains is no fault: ONNX Runtime's own error against float64 sets the limits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.core.cli import InputError
from parity.core.params import ModelParams, Params
from parity.evaluation.verdict import gate_limits
from parity.faults.fault import Fault, unlocated_fault
from parity.faults.inputs import feeds_of, read_blob, real_blob
from parity.faults.locate_in_engine import SIDES as ENGINE_SIDES
from parity.faults.locate_in_engine import locate_in_engine, run_whole
from parity.faults.locate_in_file import SIDES as FILE_SIDES
from parity.faults.locate_in_file import locate_in_file
from parity.faults.settings import (
    FILE_LIMITS,
    FILE_OPENCV,
    FILE_PERTURB,
    EngineSettings,
    engine_settings,
    on_cpu,
)
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import load_model, output_names, producers
from parity.graphs.matching import compare_pairs, differs_inside, names_in_common
from parity.graphs.pairing import output_pairs
from parity.graphs.provenance import node_name, source_module
from parity.graphs.tolerance import Tolerance, measured_tolerance
from parity.graphs.values import ComputedValues, all_values, compute_values

DPI = 120

Say = Callable[[str], None]  # takes the lines of a search, as soon as each is known


@dataclass
class Located:
    """A fault, or None, with the graph it was searched for in and that graph's tensors."""

    fault: Fault | None
    model: ModelProto
    values: Mapping[str, np.ndarray]

    @property
    def module(self) -> str | None:
        """The PyTorch module at fault, if the search or the file names one."""
        fault = self.fault
        if fault is None:
            return None
        if fault.module or fault.node is None:
            return fault.module
        return source_module(fault.node)[0]

    def depth(self) -> list[dict]:
        """Describe each measured tensor in the order of the network: `place`, `tensor`, `node`,
        `op_type` and `module`, None where unknown, `rel`, None where nothing can be compared,
        `limit`, and what was `found` in words."""
        fault, made = self.fault, producers(self.model)
        points = []
        for place, tensor in enumerate(fault.order):
            if tensor not in fault.errors:
                continue
            error, node = fault.errors[tensor], made.get(tensor)
            points.append(
                {
                    "place": place,
                    "tensor": tensor,
                    "node": node and node_name(node),
                    "op_type": node and node.op_type,
                    "module": source_module(node)[0] if node else None,
                    "rel": error.finite_rel,
                    "limit": fault.limits.get(tensor, fault.limit),
                    "found": error.text(),
                }
            )
        return points

    def draw(self, path: Path) -> None:
        """Draw the measured differences by depth; raises OSError or ValueError where it fails."""
        from parity.faults.depth_chart import draw_depth  # a search needs no Matplotlib

        fault = self.fault
        title = f"{path.stem}: {fault.sides[0]} against {fault.sides[1]}, by depth"
        measured = f"{len(fault.errors)} of {len(fault.order)} tensors measured"
        subtitle = f"{measured}; owner {fault.owner}"
        mark = (fault.output, fault.title + (f"\n{self.module}" if self.module else ""))
        limits = {name: fault.limits.get(name, fault.limit) for name in fault.order}
        draw_depth(path, title, subtitle, fault.order, fault.errors, limits, mark, DPI)


def locate_in_model(
    name: str,
    params: Params,
    path: Path,
    say: Say,
    image: int | None = None,
    engine: str | None = None,
    limit: float | None = None,
) -> Located:
    """Search a model of params.yaml, whose ONNX file is `path`, on an image of its val split.

    Engine and limit default to those of params.yaml. Raises InputError.
    """
    model = params.models[name]
    fixed = limit or gate_limits(params, name).rel
    settings = engine_settings(on_cpu(params.opencv, engine), params.stability.perturb)
    graph = load_model(path)
    blob, description = real_blob(name, model, image)
    say(f"{path} on {description}, blob {blob.shape}")
    computed = compute_values(graph, feeds_of(path, graph, blob, description))
    if computed.failure:
        fault = _unreadable(graph, computed, fixed, say)
        return Located(fault, graph, computed.values)
    tolerance = _tolerance(graph, computed.values, limit, fixed, say)
    fault = None
    if model.onnx is None:
        fault = _against_pytorch(name, model, blob, graph, computed.values, tolerance, say)
    return _against_opencv(path, graph, computed.values, settings, tolerance, fault, say)


def locate_between_files(
    reference_path: Path,
    candidate_path: Path,
    input_path: Path,
    say: Say,
    engine: str | None = None,
    limit: float | None = None,
) -> Located:
    """Search a candidate's file, fed with the blob in `input_path`; raises InputError."""
    fixed = limit or FILE_LIMITS.rel
    settings = engine_settings(on_cpu(FILE_OPENCV, engine), FILE_PERTURB)
    reference, candidate = load_model(reference_path), load_model(candidate_path)
    _check_outputs(reference_path, reference, candidate_path, candidate)
    blob, source = read_blob(input_path), str(input_path)
    feeds = feeds_of(reference_path, reference, blob, source)
    candidate_feeds = feeds_of(candidate_path, candidate, blob, source)
    try:
        expected = all_values(reference, feeds)
    except BackendFailure as failure:
        raise InputError(f"{reference_path}: {failure}") from None
    computed = compute_values(candidate, candidate_feeds)
    tolerance = _tolerance(reference, expected, limit, fixed, say)
    fault = compare_files(reference, expected, candidate, computed, tolerance, say)
    if fault:
        return Located(fault, reference, expected)
    values = computed.values
    if candidate.SerializeToString() != reference.SerializeToString():
        tolerance = _tolerance(candidate, values, limit, fixed, say)
    return _against_opencv(candidate_path, candidate, values, settings, tolerance, None, say)


def compare_files(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: ComputedValues,
    tolerance: Tolerance,
    say: Say = lambda line: None,
) -> Fault | None:
    """Find where a candidate diverges from its reference in ONNX Runtime; None where it agrees.

    `expected` and `computed` are all tensors of both, `tolerance` the limits of the reference's.
    """
    whole, output = _output_difference(reference, expected, candidate, computed, tolerance)
    say(f"candidate against reference, both in ONNX Runtime: {whole.text()}")
    names = names_in_common(reference, candidate)
    errors = compare_pairs(reference, expected, computed.values, names)
    agrees = whole.rel <= tolerance.at(output)
    if agrees and not differs_inside(errors, tolerance):
        first = next((name for name, error in errors.items() if error.rel), None)
        if first is not None:
            say(f"within the limit: first at {first}, {errors[first].text()}")
        return None
    search = partial(locate_in_file, reference, expected, candidate, computed, tolerance)
    blank = unlocated_fault("export", FILE_SIDES, output, whole, tolerance.at(output))
    fault = _search_or_fallback(search, blank)
    if agrees:
        fault.notes.append("on this blob the outputs agree within the limit nevertheless")
    return fault


def locate_in_opencv(
    path: Path,
    model: ModelProto,
    feeds: Mapping[str, np.ndarray],
    settings: EngineSettings,
    fixed: float,
    say: Say,
) -> Located:
    """Search where OpenCV diverges from ONNX Runtime on a file whose `model` was read from `path`;
    `fixed` is the limit where rounding is not measured. Raises BackendFailure where ONNX Runtime
    cannot run it."""
    values = all_values(model, feeds)
    tolerance = _tolerance(model, values, None, fixed, say)
    return _against_opencv(path, model, values, settings, tolerance, None, say)


def _tolerance(
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    limit: float | None,
    fixed: float,
    say: Say,
) -> Tolerance:
    """Return the limit of each tensor: what rounding explains there, unless the user gives a
    `limit`, or the `fixed` one where float64 is not at hand; `values` are ONNX Runtime's."""
    if limit:
        return Tolerance(limit)
    try:
        tolerance = measured_tolerance(model, values, fixed)
    except BackendFailure as failure:
        say(f"limit {fixed:g}, as rounding is not measured: {failure.message[:200]}")
        return Tolerance(fixed)
    for name in output_names(model):
        noise = tolerance.noise_at(name)
        if noise is not None:
            text = f"rel {noise:.3g}, limit {tolerance.at(name):.3g}"
            say(f"ONNX Runtime against float64 at {name}: {text}")
        elif name in values and values[name].dtype == np.float32:
            say(f"limit {fixed:g} at {name}: ONNX Runtime and float64 differ by more than rounding")
    return tolerance


def _against_pytorch(
    name: str,
    model: ModelParams,
    blob: np.ndarray,
    graph: ModelProto,
    values: Mapping[str, np.ndarray],
    tolerance: Tolerance,
    say: Say,
) -> Fault | None:
    """Find where the file, in ONNX Runtime, diverges from the PyTorch network."""
    # Heavy: a model that is an ONNX file from the start needs no PyTorch.
    from parity.faults.locate_in_modules import SIDES, locate_network, run_network
    from parity.networks.network import saved_network

    network = saved_network(name, model)
    output = output_names(graph)[0]
    whole = compare(values[output], run_network(network, blob))
    say(f"ONNX Runtime against PyTorch: {whole.text()}")
    limit = tolerance.at(output)
    if whole.rel <= limit:
        return None
    search = partial(locate_network, network, blob, graph, values, tolerance)
    return _search_or_fallback(search, unlocated_fault("export", SIDES, output, whole, limit))


def _unreadable(model: ModelProto, computed: ComputedValues, limit: float, say: Say) -> Fault:
    """Return the fault of a file that ONNX Runtime cannot run, at the node that it fails at."""
    node, failure = computed.failed_at, computed.failure
    say(f"ONNX Runtime: {failure.kind}: {failure}")
    output = node.output[0] if node else output_names(model)[0]
    sides = ("ONNX Runtime", "reference")
    fault = unlocated_fault("export", sides, output, Difference.from_failure(failure), limit)
    fault.node, fault.confirmed = node, True
    fault.evidence = "ONNX Runtime runs the graph up to this node, but not including it"
    return fault


def _against_opencv(
    path: Path,
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    settings: EngineSettings,
    tolerance: Tolerance,
    fault: Fault | None,
    say: Say,
) -> Located:
    """Find where OpenCV diverges from ONNX Runtime, unless the file itself has a `fault`."""
    whole = run_whole(path, model, values, settings, tolerance)
    say("\n".join(whole.lines()))
    wrong = whole.worst()
    if fault is None and wrong:
        search = partial(locate_in_engine, model, values, whole, settings, tolerance)
        limit = wrong.limits[wrong.output]
        blank = unlocated_fault("engine", ENGINE_SIDES, wrong.output, wrong.difference, limit)
        fault = _search_or_fallback(search, blank)
    elif wrong:
        fault.notes.append("OpenCV also differs from ONNX Runtime on this file")
    return Located(fault, model, values)


def _search_or_fallback(search: Callable[[], Fault], blank: Fault) -> Fault:
    """Return the fault that the search finds. If the search crashes, return `blank`, which still
    says that something differs and who owns it."""
    try:
        return search()
    except InputError:
        raise
    except Exception as error:  # from any library that reads a possibly broken graph
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        blank.evidence = f"not located: the search broke off: {reason}"
        return blank


def _check_outputs(
    reference_path: Path, reference: ModelProto, candidate_path: Path, candidate: ModelProto
) -> None:
    """Raise InputError where two files have different numbers of outputs."""
    ours, theirs = output_names(reference), output_names(candidate)
    if len(ours) != len(theirs):
        found = f"found {len(theirs)} outputs: {', '.join(theirs) or 'none'}"
        wanted = f"{reference_path} has {len(ours)}: {', '.join(ours) or 'none'}"
        raise InputError(f"{candidate_path}: {found}; {wanted}")


def _output_difference(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: ComputedValues,
    tolerance: Tolerance,
) -> tuple[Difference, str]:
    """Return the difference at the output that differs most by its limit, and its name."""
    values, first = computed.values, output_names(reference)[0]
    if computed.failure:
        return Difference.from_failure(computed.failure), first
    found = {
        ours: compare(values[theirs], expected[ours])
        for ours, theirs in output_pairs(reference, candidate).items()
        if ours in expected and theirs in values  # constants are in neither
    }
    worst = max(found, key=lambda name: found[name].rel / tolerance.at(name), default=first)
    return found.get(worst, Difference(0.0)), worst
