"""The generator finds, by itself and with its default seed, what is known to be wrong in OpenCV
5.0.0."""

from contextlib import ExitStack

import cv2
import pytest

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import dirty_heap
from parity.backends.onnxruntime import run_onnxruntime
from parity.backends.opencv import engines
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import EngineSettings
from parity.graphs.difference import compare
from parity.graphs.graph import output_names
from parity.operators.case import Case
from parity.operators.variations.cases import variations

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(cv2.__version__ != "5.0.0", reason="what is known of OpenCV 5.0.0"),
]
LIMIT = 1e-4
BOTH = ("new", "classic")
KNOWN = (
    ("Mish", "mish_of_two_tensors", BOTH),
    ("GELU", "gelu_of_two_tensors", BOTH),
    ("HardSwish", "hard_swish_of_two_tensors", BOTH),
    ("Softplus", "softplus_of_another_constant", BOTH),
    ("MatMul", "matmul_of_a_broadcast_stack", BOTH),
    ("LayerNormalization", "normalization_far_from_zero", BOTH),
    ("InstanceNormalization", "normalization_far_from_zero", BOTH),
    ("GroupNormalization", "normalization_far_from_zero", BOTH),
    ("PRelu", "prelu_slope_along_another_axis", BOTH),
    ("Resize", "resize_scales_that_round", BOTH),
    ("Resize", "resize_half_pixel_symmetric", BOTH),
    ("Resize", "resize_antialias", BOTH),
    ("Conv", "same_upper_padding", ["new"]),
    ("MaxPool", "same_upper_padding", ["new"]),
    ("AveragePool", "same_upper_padding", ["new"]),
    ("Conv", "same_lower_padding", ["classic"]),
    ("MaxPool", "same_lower_padding", ["classic"]),
    ("AveragePool", "same_lower_padding", ["classic"]),
    ("GRU", "gru_reversed", ["new"]),
    ("LSTM", "lstm_reversed", BOTH),
    ("GatherND", "gather_nd_of_negative_indices", ["new"]),
    ("Gelu", "gelu_by_tanh", BOTH),
    ("AveragePool", "average_pool_counting_padding", ["classic"]),
    ("Conv+activation", "nan_in_a_convolution", BOTH),
)


class Engine:
    """Processes of an engine, with a clean and two dirty heaps."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        settings = EngineSettings(engines()[name], 1, 30, ())
        environments = ({}, dirty_heap(165), dirty_heap(255))
        self.processes = [stack.enter_context(EngineProcess(settings, one)) for one in environments]

    def silently_wrong(self, case: Case) -> bool:
        """Whether an output differs, in the first process where it does, without an error."""
        (feeds,), names = case.inputs, output_names(case.model)
        expected = case.expected and case.expected[0]
        expected = expected or run_onnxruntime(case.model, feeds, names).values()
        for process in self.processes:
            try:
                found = process.run(case.model, feeds, names)
            except BackendFailure:
                return False
            if max(compare(*pair).rel for pair in zip(found, expected, strict=True)) > LIMIT:
                return True
        return False


@pytest.fixture(scope="module")
def engine():
    with ExitStack() as stack:
        yield {name: Engine(name, stack) for name in BOTH}.get


@pytest.mark.parametrize(("operator", "cause", "wrong_in"), KNOWN)
def test_a_known_fault_is_found(operator, cause, wrong_in, engine):
    probing = (case for case in variations([operator]) if case.cause == cause)
    missing = {*wrong_in}
    for case in probing:
        missing -= {name for name in missing if engine(name).silently_wrong(case)}
        if not missing:
            return
    raise AssertionError(f"{cause}: no case of {operator} shows it in {missing}")
