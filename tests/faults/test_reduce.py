import numpy as np
import pytest
from helpers.faulty import BLOB, network, parse
from onnx import ModelProto

from parity.backends.onnxruntime import run_onnxruntime
from parity.faults.reduce import Reduction


def tolerant(shows):
    """Count a graph that does not run as not showing the fault."""

    def answer(model: ModelProto, feeds: dict) -> bool:
        try:
            return shows(model, feeds)
        except Exception:
            return False

    return answer


@pytest.mark.parametrize("op", ["Resize", "Softmax", "Gemm", "Reshape", "BatchNormalization"])
def test_a_fault_of_one_operator_is_reduced_to_its_node(op):
    def shows(model: ModelProto, feeds: dict) -> bool:
        values = run_onnxruntime(model, feeds, [model.graph.output[0].name])
        return any(node.op_type == op for node in model.graph.node) and len(values) == 1

    small = Reduction(network(), {"input": BLOB}, tolerant(shows), 60).run()
    assert [node.op_type for node in small.model.graph.node] == [op]
    assert small.size[1] < 1000 and len(small.feeds) == 1


def test_what_nodes_compute_from_constants_is_shortened_too():
    """TorchScript writes an Identity for a bias that several layers share."""
    normal = np.random.default_rng(0).standard_normal
    tensors = {"weight": normal((64, 32)), "bias": normal(64)}
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    body = "shared = Identity (bias) output = Gemm <transB = 1> (input, weight, shared)"
    model = parse(body, "float[8, 32] input", "float[8, 64] output", **tensors)

    def shows(model: ModelProto, feeds: dict) -> bool:
        run_onnxruntime(model, feeds, [model.graph.output[0].name])
        return {"Identity", "Gemm"} <= {node.op_type for node in model.graph.node}

    feeds = {"input": normal((8, 32)).astype(np.float32)}
    small = Reduction(model, feeds, tolerant(shows), 60).run()
    assert [node.op_type for node in small.model.graph.node] == ["Identity", "Gemm"]
    assert small.size[1] < 500


def test_nodes_that_are_needed_together_stay_together():
    def shows(model: ModelProto, feeds: dict) -> bool:
        run_onnxruntime(model, feeds, [model.graph.output[0].name])
        return {"Softmax", "AveragePool"} <= {node.op_type for node in model.graph.node}

    small = Reduction(network(), {"input": BLOB}, tolerant(shows), 60).run()
    ops = [node.op_type for node in small.model.graph.node]
    assert {"Softmax", "AveragePool"} <= set(ops) and len(ops) <= 5


def test_after_the_time_limit_nothing_more_is_tried():
    asked = []
    small = Reduction(network(), {"input": BLOB}, lambda *_: asked.append(1) or True, 1e-9).run()
    assert len(small.model.graph.node) == len(network().graph.node) and not asked
