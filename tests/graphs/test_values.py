import numpy as np
import pytest
import torch
from helpers.faulty import BLOB, network, parse, set_attribute

from parity.backends.contract import BackendFailure
from parity.graphs.graph import constant_values
from parity.graphs.values import all_values, compute_values

MODEL = network()
VALUES = all_values(MODEL, {"input": BLOB})


def test_all_values_holds_each_tensor_in_topological_order():
    assert list(VALUES) == ["input", *(node.output[0] for node in MODEL.graph.node)]
    conv = torch.nn.functional.conv2d(
        torch.from_numpy(BLOB),
        torch.tensor(constant_values(MODEL)["conv1_w"]),
        torch.tensor(constant_values(MODEL)["conv1_b"]),
        padding=1,
    )
    np.testing.assert_allclose(VALUES["conv1_out"], conv.numpy(), atol=1e-5)
    assert VALUES["clip_out"].min() == 0 and VALUES["clip_out"].max() == 6


def test_a_failure_of_onnxruntime_is_one_line():
    model = parse("y = NoSuchOperation (x)")
    with pytest.raises(BackendFailure) as caught:
        all_values(model, {"x": np.ones((1, 3), np.float32)})
    assert caught.value.kind == "refused" and "NoSuchOperation" in str(caught.value)
    with pytest.raises(BackendFailure, check=lambda error: error.kind == "error"):
        all_values(parse("y = Relu (x)"), {"x": np.ones((1, 4, 4), np.float32)})


def test_where_a_node_cannot_run_the_values_before_it_are_kept():
    model = network()
    set_attribute(model, "gemm1", transB=0)
    weight = next(one for one in model.graph.initializer if one.name == "gemm1_w")
    del weight.dims[:]
    weight.dims.extend([4, 16])
    computed = compute_values(model, {"input": BLOB})
    assert computed.failed_at.name == "gemm1" and computed.failure.kind in ("refused", "error")
    assert list(computed.values)[-1] == "sum_out" and "gemm1_out" not in computed.values


def test_where_every_node_runs_nothing_failed():
    computed = compute_values(MODEL, {"input": BLOB})
    assert computed.failure is None and computed.failed_at is None
    assert list(computed.values) == list(VALUES)
