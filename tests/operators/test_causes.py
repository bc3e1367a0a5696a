import numpy as np
import onnx
import pytest

from parity.operators.causes import CAUSES, affected, causes_of

X = "float[1, 4, 6, 6] x"
TOKENS = "float[2, 5, 8] x"
NUMBERS = "float one = {1.0}, float two = {2.0}, float half = {0.5}, float root = {1.4142135}"


def model(body, given=X, constants="", opset=18):
    """The graph of a text; `one`, `two`, `half` and `root` are constants, `y` is the output."""
    known = f"<{NUMBERS}, {constants}>" if constants else f"<{NUMBERS}>"
    text = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    return onnx.parser.parse_model(f"{text} g ({given}) => (float[N] y) {known} {{ {body} }}")


def keys(graph, **feeds):
    feeds = feeds or {"x": np.ones((1, 4, 6, 6), np.float32)}
    return {cause.key for cause in causes_of(graph, feeds)}


LAYER_NORM = """m = ReduceMean <axes = [-1]> ({0}) d = Sub(x, m) q = Pow({1})
v = ReduceMean <axes = [{2}]> (q) a = Add({3}) r = Sqrt(a) y = Div(d, r)"""
ATTENTION = "m = MatMul(x, k) s = {} (m) y = MatMul(s, k)"
WINDOW = "kernel_shape = [3, 3], strides = [2, 2]"

# The key of a cause, a body that it affects and one that it does not, inputs and constants.
PAIRS = (
    (
        "mish_of_two_tensors",
        "c = Neg(x) s = Softplus(c) t = Tanh(s) y = Mul(x, t)",
        "s = Softplus(x) t = Tanh(s) y = Mul(t, x)",
    ),
    (
        "mish_of_two_tensors",
        "c = Neg(x) e = Exp(c) p = Add(one, e) s = Log(p) t = Tanh(s) y = Mul(t, x)",
        "e = Exp(x) p = Add(e, one) s = Log(p) t = Tanh(s) y = Mul(x, t)",
    ),
    (
        "gelu_of_two_tensors",
        "c = Neg(x) d = Div(c, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
        "d = Div(x, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
    ),
    (
        "number_is_not_second",
        "d = Div(x, root) e = Erf(d) p = Add(one, e) m = Mul(x, p) y = Mul(m, half)",
        "d = Div(x, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
    ),
    (
        "softplus_of_another_constant",
        "e = Exp(x) p = Add(e, two) y = Log(p)",
        "e = Exp(x) p = Add(e, one) y = Log(p)",
    ),
    (
        "hard_swish_of_two_tensors",
        "c = Neg(x) h = HardSigmoid <alpha = 0.16666667> (c) y = Mul(h, x)",
        "h = HardSigmoid <alpha = 0.16666667> (x) y = Mul(x, h)",
    ),
    (
        "output_inside_a_pattern",
        "y = Sigmoid(x) z = Mul(x, y)",
        "s = Sigmoid(x) y = Mul(x, s)",
    ),
    (
        "same_upper_padding",
        f'y = MaxPool <{WINDOW}, auto_pad = "SAME_UPPER"> (x)',
        'y = MaxPool <kernel_shape = [3, 3], auto_pad = "SAME_UPPER"> (x)',
    ),
    (
        "same_lower_padding",
        f'y = AveragePool <{WINDOW}, auto_pad = "SAME_LOWER"> (x)',
        f'y = AveragePool <{WINDOW}, auto_pad = "SAME_UPPER"> (x)',
    ),
    (
        "average_pool_counting_padding",
        f"y = AveragePool <{WINDOW}, pads = [1, 1, 1, 1], count_include_pad = 1> (x)",
        f"y = AveragePool <{WINDOW}, count_include_pad = 1> (x)",
    ),
    ("gelu_by_tanh", 'y = Gelu <approximate = "tanh"> (x)', "y = Gelu(x)"),
    (
        "resize_half_pixel_symmetric",
        'y = Resize <coordinate_transformation_mode = "half_pixel_symmetric"> (x, , s)',
        "y = Resize(x, , s)",
        X,
        "float[4] s = {1, 1, 2, 2}",
    ),
    (
        "resize_scales_that_round",
        "y = Resize <axes = [2, 3]> (x, , s)",
        "y = Resize(x, , t)",
        X,
        "float[2] s = {1.7, 1}, float[4] t = {1, 1, 1.5, 2}",
    ),
    (
        "resize_of_channels",
        "y = Resize(x, , s)",
        "y = Resize <axes = [2, 3]> (x, , t)",
        X,
        "float[4] s = {1, 2, 1, 1}, float[2] t = {2, 2}",
    ),
    (
        "matmul_of_a_broadcast_stack",
        "y = MatMul(x, w)",
        "t = MatMul(x, v) y = MatMul(v, t)",
        "float[2, 2, 1, 2] x",
        "float[2, 2, 1] w = {1, 2, 3, 4}, float[2, 2] v = {1, 2, 3, 4}",
    ),
    (
        "prelu_slope_along_another_axis",
        "y = PRelu(x, w)",
        "y = PRelu(x, c)",
        X,
        "float[6] w = {1, 2, 3, 4, 5, 6}, float[4, 1, 1] c = {1, 2, 3, 4}",
    ),
    (
        "gather_nd_of_negative_indices",
        "y = GatherND(x, n)",
        "y = GatherND(x, p)",
        X,
        "int64[1, 2] n = {0, -1}, int64[1, 2] p = {0, 1}",
    ),
    (
        "concat_of_a_constant",
        "y = Concat <axis = 0> (x, w)",
        "y = Concat <axis = 0> (x, x)",
        "float[1, 2] x",
        "float[1, 2] w = {1, 2}",
    ),
    (
        "reduction_of_one_element",
        "y = ReduceL2 <keepdims = 0> (x, axis)",
        "y = ReduceL2 (x, axis)",
        X,
        "int64[1] axis = {0}",
    ),
    (
        "attention_of_another_softmax",
        ATTENTION.format("Softmax <axis = 1>"),
        ATTENTION.format("Softmax <axis = 2>"),
        "float[2, 8, 8] x, float[2, 8, 8] k",
    ),
)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0])
def test_a_near_miss_is_recognised_and_the_pattern_itself_is_not(pair):
    key, wrong, right, *rest = pair
    assert key in keys(model(wrong, *rest, opset=20))
    assert key not in keys(model(right, *rest, opset=20))


@pytest.mark.parametrize(
    ("mean", "square", "axis", "sum", "found"),
    [
        ("x", "d, two", "-1", "v, one", set()),
        ("z", "d, two", "-1", "v, one", {"layer_norm_of_two_tensors"}),
        ("x", "d, half", "-1", "v, one", {"layer_norm_of_two_tensors"}),
        ("x", "d, two", "1", "v, one", {"layer_norm_of_two_tensors"}),
        ("x", "d, two", "-1", "one, v", {"number_is_not_second"}),
    ],
)
def test_a_layer_normalization_reads_one_tensor_along_the_same_axes(mean, square, axis, sum, found):
    body = LAYER_NORM.format(mean, square, axis, sum)
    assert keys(model(body, f"{TOKENS}, float[2, 5, 8] z", opset=13)) == found


@pytest.mark.parametrize(
    ("highest", "total", "wrong"), [("x", "e", False), ("z", "e", True), ("x", "z", True)]
)
def test_a_softmax_reads_one_tensor(highest, total, wrong):
    body = f"m = ReduceMax <axes = [-1]> ({highest}) d = Sub(x, m) e = Exp(d)"
    body += f" s = ReduceSum({total}, axis) y = Div(e, s)"
    graph = model(body, f"{TOKENS}, float[2, 5, 8] z", "int64[1] axis = {-1}", opset=13)
    assert ("softmax_of_two_tensors" in keys(graph)) == wrong


def test_some_causes_need_certain_values():
    graph = model("y = LayerNormalization(x, w)", TOKENS, "float[8] w = {1, 2, 3, 4, 5, 6, 7, 8}")
    random = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    assert keys(graph, x=random) == set()
    assert keys(graph, x=random + 1000) == {"normalization_far_from_zero"}
    assert keys(model("y = Clip(x)"), x=np.float32([np.nan])) == {"nan_is_lost"}
    assert keys(model("y = Tanh(x)"), x=np.float32([100])) == {"tanh_overflows"}


def test_a_users_graph_names_the_nodes_that_are_affected():
    graph = model('a = Neg(x) t = Gelu <approximate = "tanh"> (a) y = Abs(t)', opset=20)
    ((node, cause),) = affected(graph)
    assert (node.op_type, cause.key) == ("Gelu", "gelu_by_tanh")


def test_causes_have_names_of_their_own_and_a_line_of_text():
    assert len({cause.key for cause in CAUSES}) == len(CAUSES)
    assert all(cause.text and "\n" not in cause.text and cause.engines for cause in CAUSES)
