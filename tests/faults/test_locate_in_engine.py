from dataclasses import dataclass
from math import inf

import numpy as np
import onnx
import pytest
from helpers.faulty import BLOB, network, unstable

from parity.faults.locate_in_engine import locate_in_engine, locate_in_subgraphs, run_whole
from parity.faults.settings import FILE_OPENCV, engine_settings, on_cpu
from parity.faults.subgraphs import Subgraphs
from parity.graphs.difference import Difference
from parity.graphs.tolerance import Tolerance
from parity.graphs.values import all_values

WHOLE = Difference(0.5)


class KnownSubgraphs(Subgraphs):
    """Subgraphs whose differences are given: wrong prefixes, and whether windows are wrong."""

    def __init__(self, wrong: set[str], window_wrong: bool) -> None:
        model = network()
        super().__init__(model, all_values(model, {"input": BLOB}), [], Tolerance(1e-4))
        self.wrong, self.window_wrong = wrong, window_wrong

    def prefix_error(self, name: str) -> Difference:
        return self.prefix_errors.setdefault(name, Difference(0.5 * (name in self.wrong)))

    def window_error(self, name: str, places: list[int]) -> Difference:
        return Difference(0.5 * self.window_wrong)


def test_a_tensor_that_is_wrong_only_at_the_end_of_its_graph_is_skipped():
    subgraphs = KnownSubgraphs({"conv1_out", "gemm1_out", "relu3_out", "output"}, False)
    fault = locate_in_subgraphs(subgraphs, WHOLE)
    assert fault.output == "gemm1_out" and not fault.confirmed and not fault.window
    assert fault.notes == ["conv1_out is wrong as the last tensor of a graph, but sum_out is right"]
    assert "not confirmed by a second cut" in fault.evidence


def test_a_fault_that_only_the_whole_graph_shows_is_at_its_output():
    fault = locate_in_subgraphs(KnownSubgraphs({"conv1_out"}, False), WHOLE)
    assert (fault.output, fault.confirmed) == ("output", False)
    assert fault.evidence.startswith("shows only in the whole graph")


def test_a_fault_that_a_window_confirms_counts_even_if_everything_after_it_is_right():
    fault = locate_in_subgraphs(KnownSubgraphs({"conv1_out"}, True), WHOLE)
    assert (fault.output, fault.confirmed, fault.window) == ("conv1_out", True, ["conv1"])
    assert fault.evidence == "confirmed by a second cut: the node alone shows it"


def test_cuts_that_fail_although_the_whole_runs_are_noted():
    subgraphs = KnownSubgraphs({"gemm1_out", "relu3_out", "output"}, True)
    subgraphs.prefix_errors["add_out"] = Difference(inf, "refused", "no")
    fault = locate_in_subgraphs(subgraphs, WHOLE)
    assert fault.output == "gemm1_out"
    assert fault.notes == [
        "1 graphs that end at a tensor fail although the whole does not; ignored "
        "(add_out: refused: no)"
    ]


def test_a_silent_fault_before_an_error_comes_first():
    subgraphs = KnownSubgraphs({"conv2_out", "relu_out", "add_out", "resize_out"}, True)
    refused = Difference(inf, "refused", "no")
    after = subgraphs.order[subgraphs.order.index("conv3_out") :]
    subgraphs.prefix_errors |= dict.fromkeys(after, refused)
    subgraphs.up_to = lambda name: KnownSubgraphs(subgraphs.wrong, True)
    fault = locate_in_subgraphs(subgraphs, refused)
    assert (fault.output, fault.confirmed) == ("conv2_out", True)
    assert fault.notes == ["behind it, conv3 (Conv) fails: refused: no"]


def test_an_error_with_nothing_wrong_before_it_is_the_fault():
    subgraphs = KnownSubgraphs(set(), True)
    refused = Difference(inf, "refused", "no")
    after = subgraphs.order[subgraphs.order.index("conv3_out") :]
    subgraphs.prefix_errors |= dict.fromkeys(after, refused)
    assert locate_in_subgraphs(subgraphs, refused).output == "conv3_out"


@dataclass
class Whole:
    """A file with its tensors."""

    folder: object
    model: onnx.ModelProto

    def run(self, engine: str, perturb: tuple[int, ...]):
        path = self.folder / "a.onnx"
        onnx.save(self.model, path)
        (value,) = self.model.graph.input
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        blob = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        values = all_values(self.model, {value.name: blob})
        settings = engine_settings(on_cpu(FILE_OPENCV, engine), perturb)
        return run_whole(path, self.model, values, settings, Tolerance(1e-4)), values, settings


@pytest.mark.process
def test_uninitialized_memory_shows_on_the_heaps_that_are_asked_for(tmp_path):
    whole = Whole(tmp_path, unstable())
    runs, values, settings = whole.run("new", (165,))
    assert [run.environment.get("MALLOC_PERTURB_") for run in runs.runs] == [None, "165"]
    assert runs.unstable and runs.worst() is runs.runs[1]
    assert runs.lines()[-1] == "unstable: the output depends on uninitialized memory"
    fault = locate_in_engine(whole.model, values, runs, settings, Tolerance(1e-4))
    assert fault.node.op_type == "Resize" and fault.unstable and fault.confirmed
    assert fault.environment["MALLOC_PERTURB_"] == "165"


@pytest.mark.process
def test_an_engine_that_is_right_has_no_fault(tmp_path):
    whole = Whole(tmp_path, unstable())
    runs, values, settings = whole.run("classic", (1,))
    assert not runs.unstable and runs.worst() is None
    assert runs.lines()[0].endswith(" (the same in 2 processes)")
    assert locate_in_engine(whole.model, values, runs, settings, Tolerance(1e-4)) is None


class KnownEngine:
    """Returns ONNX Runtime's values, changed by what lies in memory that nothing has written."""

    def __init__(self, found: float) -> None:
        self.found, self.runs = found, 0

    def run(self, model, feeds, outputs):
        self.runs += 1
        values = all_values(model, feeds)
        return [values[name] + self.found for name in outputs]


def test_a_part_that_only_one_heap_shows_to_be_wrong_is_wrong():
    model = network()
    values = all_values(model, {"input": BLOB})
    engines = [KnownEngine(0), KnownEngine(np.nan), KnownEngine(0)]
    subgraphs = Subgraphs(model, values, engines, Tolerance(1e-4))
    assert subgraphs.prefix_error("conv1_out").rel == inf
    assert [engine.runs for engine in engines] == [1, 1, 0]
    assert Subgraphs(model, values, engines[:1], Tolerance(1e-4)).prefix_error("conv1_out").rel == 0
