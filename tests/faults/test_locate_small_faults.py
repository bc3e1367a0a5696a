"""Faults of 20 times the noise and more are located, in a file and in an engine, and no rounding is
taken for one. Their places are drawn by a seed."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_faults import BLOB, FaultyEngine, SmallFault, deep_network, small_faults
from onnx import ModelProto, helper, numpy_helper

from parity.faults import locate_in_engine as engine_search
from parity.faults.fault import Fault
from parity.faults.locate_in_engine import locate_in_engine, run_whole
from parity.faults.locate_in_file import locate_in_file
from parity.faults.settings import FILE_OPENCV, engine_settings, on_cpu
from parity.graphs.difference import compare
from parity.graphs.matching import compare_pairs, differs_inside, names_in_common
from parity.graphs.provenance import node_name
from parity.graphs.tolerance import FACTOR, Tolerance, measured_tolerance
from parity.graphs.values import ComputedValues, all_values, compute_values

KINDS = {
    *("epsilon", "one weight", "bfloat16", "leaky"),
    *("gelu", "padding", "resize", "softmax16"),
}
# OpenCV 5.0.0 computes either kind of Gelu with erf, and its classic engine refuses float16.
UNKNOWN_TO_OPENCV = {"gelu", "softmax16"}


@dataclass
class Healthy:
    """The network, its tensors by ONNX Runtime, and the limits there."""

    model: ModelProto
    values: dict[str, np.ndarray]
    tolerance: Tolerance

    @property
    def noise(self) -> float:
        return self.tolerance.noise_at("output")


@pytest.fixture(scope="module")
def healthy() -> Healthy:
    model = deep_network()
    values = all_values(model, {"input": BLOB})
    return Healthy(model, values, measured_tolerance(model, values, 1e-4))


def drawn(model: ModelProto, count: int, left_out: set[str] = frozenset()) -> list[SmallFault]:
    """Return about `count` faults, at least one of each kind."""
    rng = np.random.default_rng(3)
    faults = [one for one in small_faults(model, rng) if one.kind not in left_out]
    first = {faults[place].kind: place for place in rng.permutation(len(faults))}
    rest = [place for place in rng.permutation(len(faults)) if place not in first.values()]
    return [faults[place] for place in (*first.values(), *rest)][:count]


def with_fault(model: ModelProto, fault: SmallFault) -> ModelProto:
    changed = ModelProto.FromString(model.SerializeToString())
    assert fault(changed)
    return changed


def differs(healthy: Healthy, candidate: ModelProto) -> bool:
    """Whether a candidate's file differs by more than rounding explains, at an output or inside."""
    found = compute_values(candidate, {"input": BLOB}).values
    names = names_in_common(healthy.model, candidate)
    errors = compare_pairs(healthy.model, healthy.values, found, names)
    return differs_inside(errors, healthy.tolerance)


def search_file(healthy: Healthy, candidate: ModelProto, computed: ComputedValues) -> Fault:
    model, values = healthy.model, healthy.values
    return locate_in_file(model, values, candidate, computed, healthy.tolerance)


def test_a_network_has_a_place_for_each_kind_of_fault(healthy):
    assert {one.kind for one in drawn(healthy.model, 30)} == KINDS


def test_small_faults_of_a_file_are_located(healthy):
    located = Counter()
    for fault in drawn(healthy.model, 30):
        candidate = with_fault(healthy.model, fault)
        computed = compute_values(candidate, {"input": BLOB})
        rel = compare(computed.values["output"], healthy.values["output"]).rel
        if rel <= FACTOR * healthy.noise:
            continue
        assert differs(healthy, candidate)
        found = search_file(healthy, candidate, computed)
        located[node_name(found.node) == fault.node] += 1
        assert found.exactness > 1 and found.difference.rel > found.limit
    assert located[True] >= 0.9 * located.total() and located.total() >= 20


def rounding_more(model: ModelProto) -> ModelProto:
    """Return the same network by other nodes: batch norm as Mul and Add, a kernel padded to 5x5."""
    model = ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    weights = {one.name: numpy_helper.to_array(one).astype(float) for one in graph.initializer}
    factor = weights["scale"] / np.sqrt(weights["var"] + 1e-5)
    new = {
        "factor": factor.reshape(-1, 1, 1),
        "term": (weights["shift"] - weights["mean"] * factor).reshape(-1, 1, 1),
        "wide_w": np.pad(weights["conv0_w"], ((0, 0), (0, 0), (1, 1), (1, 1))),
    }
    graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in new.items()
    )
    place, norm = next(one for one in enumerate(graph.node) if one[1].name == "bn")
    graph.node.remove(norm)
    graph.node.insert(place, helper.make_node("Mul", ["conv", "factor"], ["product"], "times"))
    graph.node.insert(place + 1, helper.make_node("Add", ["product", "term"], ["bn"], "plus"))
    conv = next(node for node in graph.node if node.name == "conv0")
    del conv.attribute[:]
    conv.attribute.append(helper.make_attribute("pads", [2, 2, 2, 2]))
    conv.input[1] = "wide_w"
    return model


def test_a_rewrite_that_rounds_a_little_more_is_no_fault_and_takes_no_blame(healthy):
    rewritten = rounding_more(healthy.model)
    assert not differs(healthy, rewritten)
    last = [one for one in small_faults(rewritten, np.random.default_rng(0)) if one.node == "convd"]
    for fault in last:
        candidate = with_fault(rewritten, fault)
        computed = compute_values(candidate, {"input": BLOB})
        found = search_file(healthy, candidate, computed)
        assert (node_name(found.node), found.confirmed) == ("convd", True)


def run_engine(
    healthy: Healthy, folder: Path, engine: str, fault: SmallFault | None, patch: pytest.MonkeyPatch
):
    """Run the network in an engine that makes a fault, in this process."""
    settings = engine_settings(on_cpu(FILE_OPENCV, engine), ())
    patch.setattr(engine_search, "EngineProcess", FaultyEngine(fault, settings.engine))
    path = folder / "model.onnx"
    onnx.save(healthy.model, path)
    whole = run_whole(path, healthy.model, healthy.values, settings, healthy.tolerance)
    return whole, settings


@pytest.mark.parametrize("engine", ["new", "classic"])
def test_the_rounding_of_an_engine_is_no_fault(healthy, tmp_path, engine, monkeypatch):
    whole, _ = run_engine(healthy, tmp_path, engine, None, monkeypatch)
    assert whole.worst() is None and 0 < whole.runs[0].difference.rel < 10 * healthy.noise


@pytest.mark.parametrize("engine", ["new", "classic"])
def test_small_faults_of_an_engine_are_located(healthy, tmp_path, engine, monkeypatch):
    located = Counter()
    for fault in drawn(healthy.model, 18, UNKNOWN_TO_OPENCV):
        whole, settings = run_engine(healthy, tmp_path, engine, fault, monkeypatch)
        wrong = whole.worst()
        if wrong is None:
            assert whole.runs[0].difference.rel <= FACTOR * healthy.noise
            continue
        found = locate_in_engine(healthy.model, healthy.values, whole, settings, healthy.tolerance)
        located[node_name(found.node) == fault.node] += 1
    assert located[True] >= 0.9 * located.total() and located.total() >= 10
