import numpy as np
from helpers.faulty import parse
from onnx import helper

from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.tied_axes import shorten_axes, tied_axes
from parity.graphs.values import all_values


def test_tied_axes_are_shortened_together():
    depthwise = helper.make_node(
        "Conv", ["input", "w"], ["a"], group=2, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
    )
    weight = np.ones((2, 1, 3, 3), np.float32)
    shape = "float[1, 2, 8, 8]"
    model = parse("output = Add (a, input)", f"{shape} input", f"{shape} output", w=weight)
    model.graph.node.insert(0, depthwise)
    # A file may list its weights among its inputs.
    model.graph.input.append(helper.make_tensor_value_info("w", 1, weight.shape))
    feeds = {"input": np.arange(128, dtype=np.float32).reshape(1, 2, 8, 8)}
    shapes = {name: value.shape for name, value in all_values(model, feeds).items()}
    shapes["w"] = (2, 1, 3, 3)
    channels = next(group for group in tied_axes(model, shapes) if ("w", 0) in group)
    assert set(channels) == {("w", 0), ("input", 1), ("a", 1), ("output", 1)}
    smaller, fed = shorten_axes(model, feeds, shapes, channels, slice(1, 2))
    before = run_onnxruntime(model, feeds, ["output"])["output"]
    after = run_onnxruntime(smaller, fed, ["output"])["output"]
    np.testing.assert_array_equal(after, before[:, 1:])
