"""Faults hardly larger than rounding, at any node of a graph, and an engine that makes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from helpers.faulty import set_attribute
from parity.backends.opencv import run_opencv
from parity.graphs.graph import save

NORMALIZATIONS = ("BatchNormalization", "LayerNormalization", "InstanceNormalization")
PRODUCTS = ("Conv", "Gemm", "MatMul")


BLOCKS = 3
CHANNELS = 16
BLOB = np.random.default_rng(2).standard_normal((1, 3, 24, 24)).astype(np.float32)


def deep_network() -> ModelProto:
    """Return a network of opset 20 with a node for each kind of fault, most of them in each of its
    residual blocks; each node has the name of its output. It takes BLOB."""
    pads = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"
    lines = [f"conv = Conv <{pads}, strides = [2, 2]> (input, conv_w, conv_b)"]
    lines += ["bn = BatchNormalization (conv, scale, shift, mean, var)", "block = Relu (bn)"]
    last, names = "block", ["conv"]
    for number in map(str, range(BLOCKS)):
        block = f"""
            conv# = Conv <{pads}> ({last}, conv#_w, conv#_b)
            norm# = InstanceNormalization (conv#, scale, shift)
            gelu# = Gelu (norm#)
            pool# = AveragePool <{pads}, count_include_pad = 0> (gelu#)
            add# = Add (pool#, {last})
            block# = Relu (add#)
        """
        lines.append(block.replace("#", number))
        last = f"block{number}"
        names.append(f"conv{number}")
    lines.append(f"""
        resize = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            ({last}, , sides)
        convd = Conv <{pads}, strides = [2, 2]> (resize, convd_w, convd_b)
        relu = Relu (convd)
        flat = Reshape (relu, shape)
        softmax = Softmax <axis = 2> (flat)
        weighted = Mul (softmax, flat)
        sum = ReduceSum <keepdims = 0> (weighted, axes)
        gemm = Gemm <transB = 1> (sum, gemm_w, gemm_b)
        relu2 = Relu (gemm)
        output = Gemm <transB = 1> (relu2, output_w, output_b)
    """)
    header = '<ir_version: 9, opset_import: ["" : 20]>'
    shapes = "(float[N, 3, 24, 24] input) => (float[N, 10] output)"
    model = onnx.parser.parse_model(f"{header} deep {shapes} {{ {' '.join(lines)} }}")
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        spread = np.prod(shape[1:]) ** -0.5
        return (rng.standard_normal(shape) * spread).astype(np.float32)

    c = CHANNELS
    weights = {"sides": np.float32([1, 1, 1.25, 1.25]), "axes": np.int64([2])}
    weights |= {"shape": np.int64([0, c, -1]), "gemm_w": normal(c, c), "gemm_b": normal(c)}
    weights |= {"scale": normal(c) / 4 + 1, "shift": normal(c) / 4, "mean": normal(c) / 4}
    weights |= {"var": np.abs(normal(c) / 4) + 1, "output_w": normal(10, c), "output_b": normal(10)}
    for name in (*names, "convd"):
        weights[f"{name}_w"] = normal(c, 3 if name == "conv" else c, 3, 3)
        weights[f"{name}_b"] = normal(c) / 4
    for name, value in weights.items():
        value = value.astype(np.float32) if value.dtype == np.float64 else value
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True)
class SmallFault:
    """A change of one node; `put` makes it in a graph, or in a part that has the node."""

    kind: str
    node: str
    put: Callable[[ModelProto], None]

    def __call__(self, model: ModelProto) -> bool:
        """Put the fault into a model if it has the node; returns whether."""
        if not any(node.name == self.node for node in model.graph.node):
            return False
        self.put(model)
        return True


def small_faults(model: ModelProto, rng: np.random.Generator) -> Iterator[SmallFault]:
    """Yield the faults that fit each node of a model."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        name, kind = node.name, node.op_type
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if kind in NORMALIZATIONS:
            yield SmallFault("epsilon", name, _attribute(name, epsilon=1e-3))
        if kind in PRODUCTS and node.input[1] in weights:
            yield SmallFault("one weight", name, _weights(name, one_weight(rng)))
            yield SmallFault("bfloat16", name, _weights(name, bfloat16))
        if kind == "Relu":
            yield SmallFault("leaky", name, _operator(name, "LeakyRelu", alpha=1e-4))
        if kind == "Gelu":
            yield SmallFault("gelu", name, _attribute(name, approximate="tanh"))
        if kind == "AveragePool" and any(attributes.get("pads", ())):
            other = 1 - attributes.get("count_include_pad", 0)
            yield SmallFault("padding", name, _attribute(name, count_include_pad=other))
        if kind == "Resize" and attributes.get("mode") == b"linear":
            mode = attributes.get("coordinate_transformation_mode", b"half_pixel")
            other = "asymmetric" if mode != b"asymmetric" else "half_pixel"
            changed = _attribute(name, coordinate_transformation_mode=other)
            yield SmallFault("resize", name, changed)
        if kind == "Softmax":
            yield SmallFault("softmax16", name, _in_float16(name))


def one_weight(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Change one weight, one of the largest tenth, by a thousandth."""

    def change(weight: np.ndarray) -> np.ndarray:
        changed = weight.copy()
        order = np.abs(weight).ravel().argsort()
        changed.flat[order[-1 - int(rank * len(order))]] *= np.float32(1.001)
        return changed

    rank = rng.uniform(0, 0.1)
    return change


def bfloat16(weight: np.ndarray) -> np.ndarray:
    """Round to the nearest numbers of 8 bits of fraction."""
    bits = weight.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def _node(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def _attribute(name: str, **changes) -> Callable[[ModelProto], None]:
    return lambda model: set_attribute(model, name, **changes)


def _operator(name: str, kind: str, **attributes) -> Callable[[ModelProto], None]:
    def put(model: ModelProto) -> None:
        _node(model, name).op_type = kind
        set_attribute(model, name, **attributes)

    return put


def _weights(name: str, change: Callable) -> Callable[[ModelProto], None]:
    """Change the weights of a node, and of no other that shares them."""

    def put(model: ModelProto) -> None:
        node = _node(model, name)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        changed = change(numpy_helper.to_array(tensors[node.input[1]]))
        shared = sum(node.input[1] in one.input for one in model.graph.node) > 1
        own = f"{node.input[1]}.{name}" if shared else node.input[1]
        if not shared:
            model.graph.initializer.remove(tensors[own])
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(changed), own))
        node.input[1] = own

    return put


def _in_float16(name: str) -> Callable[[ModelProto], None]:
    def put(model: ModelProto) -> None:
        node, nodes = _node(model, name), model.graph.node
        place = list(nodes).index(node)
        source, target = node.input[0], node.output[0]
        half, out = f"{name}.half", f"{name}.out"
        before = helper.make_node("Cast", [source], [half], f"{name}.before", to=10)
        after = helper.make_node("Cast", [out], [target], f"{name}.after", to=1)
        node.input[0], node.output[0] = half, out
        nodes.insert(place + 1, after)
        nodes.insert(place, before)

    return put


class FaultyEngine:
    """Stands in for an EngineProcess: OpenCV in this process, whose graphs have a fault."""

    def __init__(self, fault: SmallFault | None, engine: int | None, run: Callable = run_opencv):
        self.fault, self.engine, self.run_graph = fault, engine, run

    def __call__(self, *_: object) -> "FaultyEngine":
        return self

    def __enter__(self) -> "FaultyEngine":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self, model: ModelProto | Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        if isinstance(model, Path):
            changed = onnx.load(model)
        else:
            changed = ModelProto.FromString(model.SerializeToString())
        if self.fault:
            self.fault(changed)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            save(changed, path)
            return self.run_graph(path, self.engine, 1, feeds, outputs)
