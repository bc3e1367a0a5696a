import numpy as np
import pytest
from helpers.faulty import parse
from helpers.refusals import refused
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.checking.cases import Cases, make_cases

SHAPES = "float[N, 3, H, W] x", "float[N, 3, H, W] y"
BLOB = np.random.default_rng(0).standard_normal((1, 3, 96, 96)).astype(np.float32)


def cases(model: ModelProto, blob: np.ndarray = BLOB) -> Cases:
    return make_cases("model.onnx", model, blob, "blob.npy")


def test_open_axes_are_tried_in_batches_and_sizes():
    found = cases(parse("y = Relu (x)", *SHAPES))
    shapes = [case.blob.shape for case in found.cases]
    assert shapes == [(n, 3, 96, 96) for n in (1, 2, 3)] + [(1, 3, 64, 64), (1, 3, 96, 32)]
    assert not found.refused
    assert all((case.expected["y"] == np.maximum(case.blob, 0)).all() for case in found.cases)


def test_fixed_axes_are_left_alone():
    model = parse("y = Relu (x)", "float[1, 3, 96, 96] x", "float[1, 3, 96, 96] y")
    assert len(cases(model).cases) == 1


def test_rounding_is_measured_on_the_first_blob_and_on_demand():
    found = cases(parse("y = Exp (x)", *SHAPES))
    assert [bool(case.exact) for case in found.cases] == [True, False, False, False, False]
    assert found.cases[1].limits == found.cases[0].limits
    assert found.measured(1).exact["y"].shape == (2, 3, 96, 96)
    assert found.noise(found.cases[1], "y") == found.noise(found.cases[0], "y") < 1e-6


def test_a_shape_that_onnx_runtime_refuses_is_listed():
    model = parse("y = Reshape (x, shape)", SHAPES[0], "float[M] y", shape=np.int64([3 * 96 * 96]))
    found = cases(model)
    assert len(found.cases) == 1
    assert [shape for shape, _ in found.refused][:2] == [(2, 3, 96, 96), (3, 3, 96, 96)]


def test_a_blob_that_onnx_runtime_refuses_is_wrong_input():
    model = parse("y = Reshape (x, shape)", SHAPES[0], "float[M] y", shape=np.int64([5]))
    with refused("model.onnx: blob.npy, shape (1, 3, 96, 96): ONNX Runtime", "--input"):
        cases(model)


def test_outputs_that_prove_nothing_are_refused():
    with refused("model.onnx: blob.npy: ONNX Runtime's outputs hold no finite number", "--input"):
        cases(parse("a = Abs (x) b = Neg (a) y = Sqrt (b)", *SHAPES))


def test_a_file_that_onnx_runtime_cannot_read_is_its_refusal():
    model = parse("y = Relu (x)", *SHAPES)
    model.graph.node[0].domain = "mine"
    model.opset_import.add(domain="mine", version=1)
    with pytest.raises(BackendFailure) as refusal:
        cases(model)
    assert refusal.value.kind == "refused"
