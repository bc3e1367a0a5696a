"""Find the values at and around a fault, so that the rules that fit there are tried first."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.faults.locate_in_engine import locate_in_engine, run_whole
from parity.faults.settings import EngineSettings
from parity.graphs.graph import input_names, save
from parity.graphs.provenance import node_name
from parity.graphs.tolerance import Tolerance, measured_tolerance
from parity.graphs.values import all_values
from parity.mending.judge import Case, Judgement

# In OpenCV's messages: the name of a node, or of its output where it has none.
NAMED = re.compile(r"\(onnx_node(?:_output_\d+)?!([^)]+)\)")


def near_fault(
    model: ModelProto, judgement: Judgement, case: Case, settings: EngineSettings, fixed: float
) -> set[str]:
    """Return the values that the node at fault, and the nodes of its window, read and compute.

    The message of a refusal may name the node. Where OpenCV gives outputs, the first wrong tensor
    is located. Returns nothing where neither works, and for a crash: trying a rule is faster than
    searching the node, and every rule is then as near as another.
    """
    if judgement.difference.failed:
        named = set(NAMED.findall(judgement.difference.message))
    else:
        named = _located(model, case, settings, fixed)
    return {
        value
        for node in model.graph.node
        if node_name(node) in named
        for value in (*node.input, *node.output)
    }


def _located(model: ModelProto, case: Case, settings: EngineSettings, fixed: float) -> set[str]:
    feeds = {input_names(model)[0]: case.blob}
    try:
        values = all_values(model, feeds)
    except BackendFailure:
        return set()
    try:
        tolerance = measured_tolerance(model, values, fixed)
    except BackendFailure:
        tolerance = Tolerance(fixed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save(model, path)
        whole = run_whole(path, model, values, settings, tolerance)
        fault = locate_in_engine(model, values, whole, settings, tolerance)
    return {node_name(fault.node), *fault.window} if fault else set()
