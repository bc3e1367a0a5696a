"""The patterns that OpenCV fuses into one layer, and their relatives, as exporters write them.

A pattern is nodes in ONNX's text syntax. A tuple is the shape of an input, a `Weight` that of a
constant, and both are drawn; floats, integers and lists of integers are constants. The output is
`y`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from parity.operators.variations.draws import FLOAT, Draws
from parity.operators.variations.sketch import OPSET, Sketch, parse_nodes


@dataclass(frozen=True)
class Weight:
    """A drawn constant of a shape; with `positive`, between 0.5 and 2."""

    shape: tuple[int, ...]
    positive: bool = False


Tensor = tuple[int, ...] | Weight | float | int | list[int]


@dataclass(frozen=True)
class Pattern:
    """A pattern; `name` is the row that its cases count for."""

    name: str
    body: str
    tensors: Mapping[str, Tensor]
    opset: int = OPSET

    def sketch(self, draws: Draws) -> Sketch:
        """Return the pattern itself with drawn values."""
        inputs = {k: draws.tensor(*v) for k, v in self.tensors.items() if isinstance(v, tuple)}
        constants = {
            name: _constant(one, draws) for name, one in self.tensors.items() if name not in inputs
        }
        return Sketch(parse_nodes(self.body), inputs, constants, opset=self.opset)


def _constant(one: Tensor, draws: Draws) -> np.ndarray:
    if isinstance(one, Weight):
        return (draws.positive if one.positive else draws.normal)(*one.shape)
    return np.array(one, FLOAT if isinstance(one, float) else np.int64)


BLOB, TOKENS = (1, 4, 5, 6), (2, 5, 8)
CONV, PADDED = Weight((4, 4, 3, 3)), "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"
CHANNELS, POSITIVE = Weight((4,)), Weight((4,), positive=True)
BATCH_NORM = dict(scale=CHANNELS, shift=CHANNELS, mean=CHANNELS, variance=POSITIVE)
FEATURES = Weight((8,))


def _pattern(name: str, body: str, opset: int = OPSET, **tensors: Tensor) -> Pattern:
    return Pattern(name, body, tensors, opset)


PATTERNS = (
    _pattern(
        "HardSwish", "h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul(x, h)", x=BLOB
    ),
    _pattern(
        "HardSwish",
        "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
        x=BLOB,
        three=3.0,
        zero=0.0,
        six=6.0,
    ),
    _pattern("SiLU", "s = Sigmoid(x) y = Mul(x, s)", x=BLOB),
    _pattern("Mish", "s = Softplus(x) t = Tanh(s) y = Mul(x, t)", x=BLOB),
    _pattern(
        "Mish", "e = Exp(x) p = Add(e, one) s = Log(p) t = Tanh(s) y = Mul(x, t)", x=BLOB, one=1.0
    ),
    _pattern("Softplus", "e = Exp(x) p = Add(e, one) y = Log(p)", x=BLOB, one=1.0),
    _pattern(
        "GELU",
        "d = Div(x, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
        x=TOKENS,
        root=sqrt(2),
        one=1.0,
        half=0.5,
    ),
    _pattern(
        "GELU",
        "h = Mul(x, half) d = Div(x, root) e = Erf(d) p = Add(e, one) y = Mul(h, p)",
        x=TOKENS,
        root=sqrt(2),
        one=1.0,
        half=0.5,
    ),
    _pattern(
        "GELU by tanh",
        """h = Mul(x, half) q = Mul(x, x) c = Mul(q, x) s = Mul(c, small) a = Add(x, s)
        r = Mul(a, root) t = Tanh(r) p = Add(t, one) y = Mul(h, p)""",
        x=TOKENS,
        half=0.5,
        small=0.044715,
        root=sqrt(2 / pi),
        one=1.0,
    ),
    _pattern("Celu", "d = Div(x, alpha) e = Elu(d) y = Mul(alpha, e)", x=BLOB, alpha=1.5),
    _pattern(
        "Softmax",
        """m = ReduceMax <axes = [-1], keepdims = 1> (x) d = Sub(x, m) e = Exp(d)
        s = ReduceSum <keepdims = 1> (e, axis) y = Div(e, s)""",
        x=TOKENS,
        axis=[-1],
        opset=13,
    ),
    _pattern(
        "Softmax",
        "e = Exp(x) s = ReduceSum <keepdims = 1> (e, axis) y = Div(e, s)",
        x=TOKENS,
        axis=[-1],
    ),
    _pattern("LogSoftmax", "s = Softmax <axis = -1> (x) y = Log(s)", x=TOKENS),
    _pattern(
        "L2 normalization",
        """n = ReduceL2 <axes = [1], keepdims = 1> (x) c = Clip(n, low) s = Shape(x)
        e = Expand(c, s) y = Div(x, e)""",
        x=BLOB,
        low=1e-12,
        opset=13,
    ),
    _pattern(
        "L2 normalization",
        "n = ReduceL2 <keepdims = 1> (x, axis) c = Clip(n, low) y = Div(x, c)",
        x=BLOB,
        low=1e-12,
        axis=[1],
    ),
    _pattern(
        "LayerNorm",
        """m = ReduceMean <axes = [-1]> (x) d = Sub(x, m) q = Pow(d, two)
        v = ReduceMean <axes = [-1]> (q) a = Add(v, epsilon) r = Sqrt(a) n = Div(d, r)
        s = Mul(n, scale) y = Add(s, shift)""",
        x=TOKENS,
        two=2.0,
        epsilon=1e-5,
        scale=FEATURES,
        shift=FEATURES,
        opset=13,
    ),
    _pattern(
        "LayerNorm",
        """m = ReduceMean(x, axis) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, axis)
        a = Add(v, epsilon) r = Sqrt(a) n = Div(d, r) s = Mul(n, scale) y = Add(s, shift)""",
        x=TOKENS,
        axis=[-1],
        epsilon=1e-5,
        scale=FEATURES,
        shift=FEATURES,
    ),
    _pattern(
        "Conv+BatchNorm",
        f"c = Conv <{PADDED}> (x, w, b) y = BatchNormalization(c, scale, shift, mean, variance)",
        x=BLOB,
        w=CONV,
        b=CHANNELS,
        **BATCH_NORM,
    ),
    _pattern(
        "Conv+BatchNorm",
        f"c = Conv <{PADDED}> (x, w) m = Mul(c, scale) y = Add(m, shift)",
        x=BLOB,
        w=CONV,
        scale=Weight((4, 1, 1)),
        shift=Weight((4, 1, 1)),
    ),
    _pattern(
        "Conv+BatchNorm",
        f"""c = Conv <{PADDED}> (x, w, b) n = BatchNormalization(c, scale, shift, mean, variance)
        y = Relu(n)""",
        x=BLOB,
        w=CONV,
        b=CHANNELS,
        **BATCH_NORM,
    ),
    _pattern(
        "BatchNorm+Conv",
        f"""n = BatchNormalization(x, scale, shift, mean, variance) r = Relu(n)
        y = Conv <{PADDED}> (r, w)""",
        x=BLOB,
        w=CONV,
        **BATCH_NORM,
    ),
    _pattern(
        "Conv+Add+Relu",
        f"c = Conv <{PADDED}> (x, w, b) a = Add(c, r) y = Relu(a)",
        x=BLOB,
        r=BLOB,
        w=CONV,
        b=CHANNELS,
    ),
    _pattern(
        "Conv+Add+Relu",
        f"c = Conv <{PADDED}> (x, w, b) a = Add(c, x) y = Relu(a)",
        x=BLOB,
        w=CONV,
        b=CHANNELS,
    ),
    _pattern(
        "Conv+activation", f"c = Conv <{PADDED}> (x, w, b) y = Relu(c)", x=BLOB, w=CONV, b=CHANNELS
    ),
    _pattern(
        "Conv+activation",
        f"c = Conv <{PADDED}> (x, w, b) y = Clip(c, low, high)",
        x=BLOB,
        w=CONV,
        b=CHANNELS,
        low=0.0,
        high=6.0,
    ),
    _pattern(
        "Conv+activation",
        f"c = Conv <{PADDED}> (x, w, b) s = Sigmoid(c) y = Mul(c, s)",
        x=BLOB,
        w=CONV,
        b=CHANNELS,
    ),
    _pattern(
        "Conv+activation",
        f"c = Conv <{PADDED}> (x, w, b) y = PRelu(c, slope)",
        x=BLOB,
        w=CONV,
        b=CHANNELS,
        slope=Weight((4, 1, 1)),
    ),
    _pattern(
        "Conv+Mul",
        f"c = Conv <{PADDED}> (x, w, b) y = Mul(c, r)",
        x=BLOB,
        r=BLOB,
        w=CONV,
        b=CHANNELS,
    ),
    _pattern(
        "Squeeze-excitation",
        "p = GlobalAveragePool(x) c = Conv(p, w, b) s = Sigmoid(c) y = Mul(x, s)",
        x=BLOB,
        w=Weight((4, 4, 1, 1)),
        b=CHANNELS,
    ),
    _pattern(
        "Squeeze-excitation",
        "p = GlobalAveragePool(x) c = Conv(p, w, b) h = HardSigmoid(c) y = Mul(h, x)",
        x=BLOB,
        w=Weight((4, 4, 1, 1)),
        b=CHANNELS,
    ),
    _pattern(
        "MatMul+Add", "m = MatMul(x, w) y = Add(m, b)", x=TOKENS, w=Weight((8, 6)), b=Weight((6,))
    ),
    _pattern(
        "MatMul+Add", "m = MatMul(x, w) y = Add(b, m)", x=(5, 8), w=Weight((8, 6)), b=Weight((6,))
    ),
    _pattern("MatMul", "y = MatMul(x, w)", x=(2, 3, 5, 8), w=Weight((3, 8, 6))),
    _pattern(
        "Attention",
        """t = Transpose <perm = [0, 2, 1]> (k) m = MatMul(q, t) d = Div(m, root)
        s = Softmax <axis = -1> (d) y = MatMul(s, v)""",
        q=TOKENS,
        k=TOKENS,
        v=TOKENS,
        root=sqrt(8),
    ),
    _pattern(
        "Attention",
        """p = MatMul(x, w) a = Add(p, b) q, k, v = Split <axis = -1> (a, parts)
        t = Transpose <perm = [0, 2, 1]> (k) n = Mul(q, factor) m = MatMul(n, t)
        s = Softmax <axis = -1> (m) y = MatMul(s, v)""",
        x=TOKENS,
        w=Weight((8, 24)),
        b=Weight((24,)),
        parts=[8, 8, 8],
        factor=8**-0.5,
    ),
    _pattern(
        "Attention",
        """p = MatMul(x, w) a = Add(p, b) h = Reshape(a, heads)
        g = Transpose <perm = [2, 0, 3, 1, 4]> (h) q = Gather <axis = 0> (g, zero)
        k = Gather <axis = 0> (g, one) v = Gather <axis = 0> (g, two)
        f = Mul(q, factor) t = Transpose <perm = [0, 1, 3, 2]> (k) m = MatMul(f, t)
        s = Softmax <axis = -1> (m) o = MatMul(s, v) z = Transpose <perm = [0, 2, 1, 3]> (o)
        y = Reshape(z, flat)""",
        x=TOKENS,
        w=Weight((8, 24)),
        b=Weight((24,)),
        heads=[2, 5, 3, 2, 4],
        flat=[2, 5, 8],
        zero=0,
        one=1,
        two=2,
        factor=0.5,
    ),
    _pattern(
        "Padded pooling",
        'p = Pad <mode = "constant"> (x, pads) y = AveragePool <kernel_shape = [3, 3]> (p)',
        x=BLOB,
        pads=[0, 0, 1, 1, 0, 0, 1, 1],
    ),
    _pattern(
        "Channel shuffle",
        "r = Reshape(x, split) t = Transpose <perm = [0, 2, 1, 3, 4]> (r) y = Reshape(t, whole)",
        x=BLOB,
        split=[1, 2, 2, 5, 6],
        whole=[1, 4, 5, 6],
    ),
)
