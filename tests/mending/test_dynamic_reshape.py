import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.mending.dynamic_reshape import RULE

INPUT = "float[N, 3, 4] input"
COMPUTED = """
    batch = Shape <start = 0, end = 1> (input)
    shape = Concat <axis = 0> (batch, sizes)
    output = Reshape (input, shape)
"""


def computed(sizes=(2, 6), output: str = "float[N, 2, 6] output", given: str = INPUT):
    return parse(COMPUTED, given, output, sizes=np.int64(sizes))


def with_axes(operator: str, axes: list[int], output: str, given: str):
    """Return a model of Unsqueeze or Squeeze."""
    body = f"output = {operator} (input, axes)"
    return parse(body, f"float[{given}] input", f"float[{output}] output", axes=np.int64(axes))


MODELS = {
    "Reshape": (computed(), 3, 4),
    "Unsqueeze": (with_axes("Unsqueeze", [0, -1], "1, N, 3, 4, 1", "N, 3, 4"), 3, 4),
    "Squeeze": (with_axes("Squeeze", [-2], "N, 4", "N, 1, 4"), 1, 4),
}


@pytest.mark.parametrize(("model", "height", "width"), MODELS.values(), ids=MODELS)
def test_it_is_the_same_function(model, height, width):
    mended = assert_same_function(RULE, model, (1, height, width), (3, height, width))
    assert [node.op_type for node in mended.graph.node] == ["Constant", "Reshape"]


@pytest.mark.parametrize(("model", "height", "width"), MODELS.values(), ids=MODELS)
def test_an_empty_batch_stays_empty(model, height, width):
    feeds = {"input": np.zeros((0, height, width), np.float32)}
    mended, _ = applied(RULE, model)
    before, after = (run_onnxruntime(one, feeds, ["output"])["output"] for one in (model, mended))
    assert after.shape == before.shape


def test_what_else_reads_the_shape_still_does():
    body = f"{COMPUTED} more = Reshape (input, shape)"
    outputs = "float[N, 2, 6] output, float[N, 2, 6] more"
    mended, changed = applied(RULE, parse(body, INPUT, outputs, sizes=np.int64([2, 6])), ["output"])
    assert changed == ["output"]
    assert "Concat" in [node.op_type for node in mended.graph.node]


NEAR_MISSES = {
    "two dynamic axes": with_axes("Unsqueeze", [0], "1, N, M", "N, M"),
    "no dynamic axis": with_axes("Unsqueeze", [0], "1, 3, 4", "3, 4"),
    "an empty axis": with_axes("Unsqueeze", [0], "1, N, 0", "N, 0"),
    "an empty computed axis": computed((0, 2), "float[N, 0, 2] output", "float[N, 0] input"),
    "a constant shape": parse(
        "output = Reshape (input, shape)", INPUT, "float[N, 12] output", shape=np.int64([0, 12])
    ),
    "indices": parse(
        "output = Unsqueeze (input, axes)",
        "int64[N] input",
        "int64[N, 1] output",
        axes=np.int64([1]),
    ),
    "another operator": parse("output = Flatten (input)", INPUT, "float[N, 12] output"),
}


@pytest.mark.parametrize("model", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_others_stay(model):
    assert_untouched(RULE, model)


def transposed(operator: str, sizes: list[int], axis: int, output: str):
    body = f"""
        columns = Transpose <perm = [1, 0, 2]> (input)
        parts = Reshape (columns, sizes)
        moved = {operator} (parts, axes)
        output = Relu (moved)
    """
    weights = {"sizes": np.int64(sizes), "axes": np.int64([axis])}
    return parse(body, INPUT, f"float[{output}] output", **weights)


FAULTY = {
    "Reshape": computed(),
    "Unsqueeze": transposed("Unsqueeze", [3, -1, 2, 2], 0, "1, 3, N, 2, 2"),
    "Squeeze": transposed("Squeeze", [3, -1, 1, 4], 2, "3, N, 4"),
}


@pytest.mark.process
@pytest.mark.parametrize("model", FAULTY.values(), ids=FAULTY)
def test_opencv_4_computes_the_replacement(model):
    blob = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    with pytest.raises(BackendFailure):
        run_opencv4(model, blob)
    assert_opencv4_computes(applied(RULE, model)[0], model, blob)
