"""Float64 by ONNX's reference evaluator: as exact as PyTorch in float64, for any file."""

import io

import numpy as np
import onnx
import pytest
import torch
from helpers.onnx_files import write_tiny_onnx
from scipy.special import erf
from torch import nn

from parity.backends.contract import BackendFailure
from parity.backends.float64 import float64_model, load_float64, run_float64

HEAD = '<ir_version: 9, opset_import: ["" : 20]> any (float[N, 3] x) => (float[N, 3] y)'
X = np.float32([[0.1, -1.7, 2.3]])
WIDE = X.astype(np.float64)
# What a file's 0.1 is, and the 1/6 of the operator's definition.
TENTH, SIXTH = np.float64(np.float32(0.1)), np.float64(np.float32(1 / 6))


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{HEAD} {{ {body} }}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Erf (x)", erf(WIDE)),
        ("c = Constant <value_float: float = 0.1> () y = Mul (x, c)", WIDE * TENTH),
        ("c = Constant <value_floats: floats = [0.1]> () y = Mul (x, c)", WIDE * TENTH),
        ("c = Constant <value: tensor = float {0.1}> () y = Mul (x, c)", WIDE * TENTH),
        ("y = LeakyRelu <alpha: float = 0.1> (x)", np.where(WIDE < 0, WIDE * TENTH, WIDE)),
        ("z = Shape (x) c = ConstantOfShape (z) s = Sin (x) y = Add (s, c)", np.sin(WIDE)),
        ("b = Cast <to: int = 9> (x) c = Cast <to: int = 1> (b) y = Div (x, c)", WIDE),
        ("b = Cast <to: int = 11> (x) c = CastLike (b, x) y = Exp (c)", np.exp(WIDE)),
        ("y = Gelu (x)", 0.5 * WIDE * (1 + erf(WIDE / np.sqrt(2)))),
        (
            'y = Gelu <approximate: string = "tanh"> (x)',
            0.5 * WIDE * (1 + np.tanh(np.sqrt(2 / np.pi) * (WIDE + 0.044715 * WIDE**3))),
        ),
        ("y = HardSwish (x)", WIDE * np.clip(WIDE * SIXTH + 0.5, 0, 1)),
        ("y = Mish (x)", WIDE * np.tanh(np.log1p(np.exp(WIDE)))),
        ("y = Softplus (x)", np.log1p(np.exp(WIDE))),
        ("y = Elu (x)", np.where(WIDE > 0, WIDE, np.expm1(WIDE))),
        (
            "n = Constant <value: tensor = bool {1}> () y = If (n) <"
            "then_branch = a () => (float[N, 3] t) "
            "{ c = Constant <value: tensor = float {0.1}> () t = Mul (x, c) }, "
            "else_branch = b () => (float[N, 3] e) { e = Identity (x) }>",
            WIDE * TENTH,
        ),
    ],
    ids=lambda value: value.split("=", 1)[1].strip()[:30] if isinstance(value, str) else "",
)
def test_no_value_is_rounded_to_float32(body, expected):
    found = run_float64(parsed(body), {"x": X}, ["y"])["y"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_rounding_to_float16_is_part_of_the_function():
    found = run_float64(
        parsed("h = Cast <to: int = 10> (x) y = Cast <to: int = 1> (h)"), {"x": X}, ["y"]
    )["y"]
    np.testing.assert_array_equal(found, X.astype(np.float16).astype(np.float64))


def test_inner_tensors_can_be_asked_for_and_the_model_stays_as_it_is():
    model = parsed("z = Neg (x) y = Exp (z)")
    before = model.SerializeToString()
    found = run_float64(model, {"x": X}, ["z", "y"])
    assert list(found) == ["z", "y"]
    np.testing.assert_array_equal(found["z"], -WIDE)
    float64_model(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_an_exported_network_is_as_exact_as_pytorch_in_float64(tmp_path, dynamo):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3),
        nn.GroupNorm(2, 6),
        nn.GELU(),
        nn.Conv2d(6, 4, 3, dilation=2, padding=2),
        nn.Hardswish(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(4),
        nn.Linear(4, 5),
        nn.Softmax(dim=1),
    ).eval()
    blob = torch.randn(2, 3, 17, 19)
    content = io.BytesIO()
    torch.onnx.export(network, (blob,), content, dynamo=dynamo, opset_version=18)
    path = tmp_path / "model.onnx"
    path.write_bytes(content.getvalue())
    with torch.inference_mode():
        expected = network.double()(blob.double()).numpy()
    found = load_float64(path)(blob.numpy())
    assert found.dtype == np.float64
    # The file holds attributes such as epsilon in float32.
    np.testing.assert_allclose(found, expected, rtol=3e-8)


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (onnx.helper.make_node("NoSuchOperation", ["x"], ["y"]), "refused"),
        (onnx.helper.make_node("Relu", ["x"], ["y"], domain="com.someone"), "refused"),
        (onnx.helper.make_node("MatMul", ["x", "x"], ["y"]), "error"),
    ],
    ids=["operator", "domain", "shapes"],
)
def test_what_the_evaluator_cannot_do_is_a_failure_in_one_line(node, kind):
    model = parsed("y = Relu (x)")
    model.graph.node[0].CopyFrom(node)
    if node.domain:
        model.opset_import.append(onnx.helper.make_opsetid(node.domain, 1))
    with pytest.raises(BackendFailure) as caught:
        run_float64(model, {"x": X}, ["y"])
    assert caught.value.kind == kind
    assert str(caught.value).startswith("ONNX's reference evaluator cannot ")
    assert "\n" not in str(caught.value)


def test_a_file_may_list_its_weights_among_its_inputs(tmp_path):
    path = write_tiny_onnx(tmp_path / "a.onnx", ("Add", {"inputs": [np.float32([1])]}))
    model = onnx.load(path)
    listed = [
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    ]
    shape = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
    blob = np.ones(shape, np.float32)
    expected = load_float64(path)(blob)
    model.graph.input.extend(listed)
    onnx.save(model, path)
    np.testing.assert_array_equal(load_float64(path)(blob), expected)


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [2, 3])
def test_pooling_pads_once(kernel, stride, ceil_mode):
    """Inception's branches pool with strides of 1, padding and `ceil_mode`."""
    window = f"kernel_shape = [{kernel}, {kernel}], pads = [1, 1, 1, 1]"
    window += f", strides = [{stride}, {stride}], ceil_mode = {ceil_mode}"
    values = np.random.default_rng(0).normal(size=(1, 2, 9, 8)).astype(np.float32)
    found = run_float64(parsed(f"y = MaxPool <{window}> (x)"), {"x": values}, ["y"])["y"]
    pool = nn.MaxPool2d(kernel, stride, padding=1, ceil_mode=bool(ceil_mode))
    np.testing.assert_array_equal(found, pool(torch.from_numpy(values).double()).numpy())


@pytest.mark.parametrize(("kernel", "stride", "pads"), [(2, 1, 1), (3, 2, 1), (4, 1, 3), (2, 3, 0)])
def test_pooling_pads_the_side_that_auto_pad_says(kernel, stride, pads):
    values = np.random.default_rng(0).normal(size=(1, 2, 8, 8)).astype(np.float32)
    less, more = pads // 2, pads - pads // 2
    for auto_pad, before, after in (("SAME_UPPER", less, more), ("SAME_LOWER", more, less)):
        window = f'kernel_shape = [{kernel}, {kernel}], auto_pad = "{auto_pad}"'
        model = parsed(f"y = MaxPool <{window}, strides = [{stride}, {stride}]> (x)")
        found = run_float64(model, {"x": values}, ["y"])["y"]
        padding = (before, after, before, after)
        padded = nn.functional.pad(torch.from_numpy(values).double(), padding, value=-np.inf)
        expected = nn.functional.max_pool2d(padded, kernel, stride)
        np.testing.assert_array_equal(found, expected.numpy())
