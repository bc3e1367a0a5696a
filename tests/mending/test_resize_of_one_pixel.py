import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.new_engine import new_engine

from parity.backends.onnxruntime import run_onnxruntime
from parity.evaluation.scores import relative_difference
from parity.mending.resize_of_one_pixel import RULE

PIXEL = "float[N, 4, 1, 1] input", "float[N, 4, H, W] output"
ROW = "float[N, 4, 1, V] input", "float[N, 4, H, W] output"
COLUMN = "float[N, 4, V, 1] input", "float[N, 4, H, W] output"
INPUTS = [(PIXEL, (2, 4, 1, 1)), (ROW, (2, 4, 1, 7)), (COLUMN, (1, 4, 3, 1))]
MODES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
LARGE = np.int64([3, 5])
CHANNELS = 64  # enough for unwritten memory to lie after some of them
PERTURB = 1  # fills new memory with -1.7e38

TO_SIZE = """
    batch = Shape <start = 0, end = 2> (input)
    sizes = Concat <axis = 0> (batch, large)
    output = Resize <{}> (input, , , sizes)
"""
BY_SCALES = 'output = Resize <mode = "linear"> (input, , scales)'
IN_A_NETWORK = """
    features = Conv <kernel_shape = [1, 1]> (input, weight)
    batch = Shape <start = 0, end = 2> (features)
    sizes = Concat <axis = 0> (batch, large)
    resized = Resize <mode = "linear"> (features, , , sizes)
    output = Neg (resized)
"""


def finite(blob: np.ndarray) -> dict[str, np.ndarray]:
    # A weight of 0 makes NaN of them, and engines differ in whether they multiply by it.
    return {"input": np.where(np.isfinite(blob), blob, np.float32(0.5))}


@pytest.mark.parametrize("large", [(3, 5), (1, 4), (6, 1), (1, 1)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shapes", "shape"), INPUTS)
def test_it_is_the_same_function(shapes, shape, mode, large):
    body = TO_SIZE.format(f'mode = "linear", coordinate_transformation_mode = "{mode}"')
    model = parse(body, *shapes, large=np.int64(large))
    mended = assert_same_function(RULE, model, shape, feeds=finite)
    assert applied(RULE, mended)[1] == []


@pytest.mark.parametrize("scale", [1, 1.5, 2.999999, 3])
@pytest.mark.parametrize(("shapes", "shape"), INPUTS)
def test_scales_give_the_same_size(shapes, shape, scale):
    model = parse(BY_SCALES, *shapes, scales=np.float32([1, 1, scale, 2.5]))
    assert_same_function(RULE, model, shape, feeds=finite)


def test_sizes_win_over_the_empty_scales_of_opset_11():
    body = 'output = Resize <mode = "linear"> (input, none, none, sizes)'
    none, sizes = np.zeros(0, np.float32), np.int64([2, 4, 3, 5])
    model = parse(body, *ROW, none=none, sizes=sizes)
    model.opset_import[0].version = 11
    assert_same_function(RULE, model, (2, 4, 1, 7), feeds=finite)


@pytest.mark.parametrize(
    "attributes",
    [
        'mode = "nearest"',
        'mode = "cubic"',
        'mode = "linear", antialias = 1',
        'mode = "linear", keep_aspect_ratio_policy = "not_larger"',
        'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"',
    ],
)
def test_other_modes_stay(attributes):
    roi = np.float32([0, 0, 0, 0, 1, 1, 1, 1])
    body = TO_SIZE.format(attributes).replace("input, , , sizes", "input, roi, , sizes")
    assert_untouched(RULE, parse(body, *ROW, large=LARGE, roi=roi))


def test_chosen_axes_stay():
    body = 'output = Resize <mode = "linear", axes = [2, 3]> (input, , , large)'
    assert_untouched(RULE, parse(body, *ROW, large=LARGE))


@pytest.mark.parametrize("shape", ["N, 4, 5, 2", "N, 4, V, U", "1, 1, V, 7"])
def test_longer_and_unknown_sides_stay(shape):
    shapes = f"float[{shape}] input", "float[N, C, H, W] output"
    assert_untouched(RULE, parse(TO_SIZE.format('mode = "linear"'), *shapes, large=LARGE))


@pytest.mark.process
@pytest.mark.parametrize(("shapes", "shape"), INPUTS)
def test_the_new_engine_reads_unwritten_memory_before_and_none_after(shapes, shape):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((CHANNELS, 4, 1, 1), np.float32)
    shapes = shapes[0], f"float[N, {CHANNELS}, H, W] output"
    model = parse(IN_A_NETWORK, *shapes, large=LARGE, weight=weight)
    feeds = {"input": rng.standard_normal(shape, np.float32)}
    expected = run_onnxruntime(model, feeds, ["output"])["output"]
    with new_engine(PERTURB) as engine:
        (before,) = engine.run(model, feeds, ["output"])
        (after,) = engine.run(applied(RULE, model)[0], feeds, ["output"])
    assert not relative_difference(before, expected) < 1e-3
    assert relative_difference(after, expected) < 1e-5
