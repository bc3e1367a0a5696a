"""Faults of all kinds to put into any node of an ONNX graph, and rewrites that change nothing."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from helpers.small_faults import bfloat16
from parity.graphs.graph import constant_values, node_inputs, producers

PRODUCTS = ("Conv", "Gemm", "MatMul")
NORMS = ("BatchNormalization", "LayerNormalization", "InstanceNormalization")
POOLINGS = {
    "MaxPool": "AveragePool",
    "AveragePool": "MaxPool",
    "ReduceMean": "ReduceMax",
    "GlobalAveragePool": "GlobalMaxPool",
}
ACTIVATIONS = {  # with what may replace them
    "Relu": [("LeakyRelu", {"alpha": 0.01}), ("HardSwish", {}), ("Softplus", {})],
    "HardSwish": [("Relu", {}), ("Mish", {})],
    "HardSigmoid": [("Sigmoid", {}), ("HardSigmoid", {"alpha": 0.2, "beta": 0.5})],
    "Sigmoid": [("HardSigmoid", {})],
    "Erf": [("Tanh", {})],
}


def copy_of(model: ModelProto) -> ModelProto:
    return ModelProto.FromString(model.SerializeToString())


@dataclass
class Editor:
    """A copy of a model to change; `values` are the tensors of the original by ONNX Runtime."""

    original: ModelProto
    values: Mapping[str, np.ndarray]
    rng: np.random.Generator
    model: ModelProto = field(init=False)

    def __post_init__(self) -> None:
        self.model = copy_of(self.original)
        self.constants = constant_values(self.original)

    @property
    def nodes(self):
        return self.model.graph.node

    def node(self, name: str) -> NodeProto:
        return next(node for node in self.nodes if node.name == name)

    def attributes(self, node: NodeProto) -> dict:
        return {one.name: helper.get_attribute_value(one) for one in node.attribute}

    def set(self, node: NodeProto, **attributes) -> None:
        merged = self.attributes(node) | attributes
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(key, value) for key, value in merged.items())

    def shape(self, name: str) -> tuple[int, ...]:
        value = self.values.get(name, self.constants.get(name))
        return () if value is None else value.shape

    def is_constant(self, name: str) -> bool:
        return name in self.constants

    def constant(self, node: NodeProto, place: int, value: np.ndarray) -> None:
        """Give a node a constant of its own: others may read the same."""
        like = self.constants[node.input[place]]
        name = f"{node.input[place]}.{len(self.model.graph.initializer)}"
        value = np.ascontiguousarray(value, like.dtype)
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        node.input[place] = name

    def replace(self, node: NodeProto, kind: str, **attributes) -> None:
        node.op_type = kind
        del node.attribute[:]
        self.set(node, **attributes)

    def bypass(self, node: NodeProto, source: str) -> None:
        """Remove a node: what read its output reads `source`."""
        self.read_instead(node.output[0], source)
        self.nodes.remove(node)

    def read_instead(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def is_output(self, name: str) -> bool:
        return any(value.name == name for value in self.model.graph.output)

    def before(self, node: NodeProto) -> list[str]:
        """Return the float tensors computed before a node, in order."""
        place = [one.name for one in self.nodes].index(node.name)
        return [name for one in list(self.nodes)[:place] for name in one.output
                if name in self.values and self.values[name].dtype == np.float32]  # fmt: skip


Change = Callable[[Editor, NodeProto], bool]  # changes the node, or returns False: it does not fit


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and the operators that it fits."""

    operators: tuple[str, ...]
    put: Change


KINDS: dict[str, Kind] = {}


def fault(name: str, *operators: str) -> Callable[[Change], Change]:
    def register(put: Change) -> Change:
        KINDS[name] = Kind(operators, put)
        return put

    return register


def _weight(name: str, change: Callable[[np.ndarray, np.random.Generator], np.ndarray | None]):
    @fault(name, *PRODUCTS, "GRU")
    def put(editor: Editor, node: NodeProto) -> bool:
        places = [p for p in (1, 0) if p < len(node.input) and editor.is_constant(node.input[p])]
        if not places:
            return False
        changed = change(editor.constants[node.input[places[0]]].copy(), editor.rng)
        if changed is None:
            return False
        editor.constant(node, places[0], changed)
        return True


def _one_weight(factor: float):
    def change(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        largest = np.abs(weight).ravel().argsort()[-max(1, weight.size // 10) :]
        weight.flat[rng.choice(largest)] *= factor
        return weight

    return change


def _flipped(weight: np.ndarray, _: np.random.Generator) -> np.ndarray | None:
    return weight[..., ::-1] if weight.ndim == 4 and weight.shape[-1] > 1 else None


def _swapped_channels(weight: np.ndarray, _: np.random.Generator) -> np.ndarray | None:
    if weight.ndim not in (2, 4) or weight.shape[1] < 2:
        return None
    return weight[:, ::-1]


_weight("one weight", _one_weight(1.5))
_weight("one weight, hardly", _one_weight(1.01))
_weight("layer in bfloat16", lambda weight, _: bfloat16(weight))
_weight("layer scaled", lambda weight, _: weight * 1.05)
_weight("kernel flipped", _flipped)
_weight("input channels swapped", _swapped_channels)


@fault("bias changed", "Conv", "Gemm")
def _(editor: Editor, node: NodeProto) -> bool:
    if len(node.input) < 3 or not editor.is_constant(node.input[2]):
        return False
    bias = editor.constants[node.input[2]].copy()
    bias.flat[editor.rng.integers(bias.size)] += np.abs(bias).max() + 0.1
    editor.constant(node, 2, bias)
    return True


@fault("bias lost", "Conv")
def _(editor: Editor, node: NodeProto) -> bool:
    if len(node.input) < 3:
        return False
    del node.input[2:]
    return True


@fault("epsilon", *NORMS)
def _(editor: Editor, node: NodeProto) -> bool:
    editor.set(node, epsilon=1e-2 if editor.attributes(node).get("epsilon", 1e-5) < 1e-2 else 1e-5)
    return True


@fault("normalization's scale", *NORMS)
def _(editor: Editor, node: NodeProto) -> bool:
    scale = editor.constants[node.input[1]].copy()
    scale.flat[editor.rng.integers(scale.size)] *= 1.3
    editor.constant(node, 1, scale)
    return True


@fault("pads moved", "Conv", "MaxPool", "AveragePool")
def _(editor: Editor, node: NodeProto) -> bool:
    pads = editor.attributes(node).get("pads")
    if not pads or pads[0] != 1:
        return False
    editor.set(node, pads=[0, 0, 2, 2] if node.op_type == "Conv" else [pads[0], 0, pads[2], 2])
    return pads == [1, 1, 1, 1]


@fault("padding counted", "AveragePool")
def _(editor: Editor, node: NodeProto) -> bool:
    if not any(editor.attributes(node).get("pads", ())):
        return False
    editor.set(node, count_include_pad=1 - editor.attributes(node).get("count_include_pad", 0))
    return True


@fault("other pooling", *POOLINGS)
def _(editor: Editor, node: NodeProto) -> bool:
    lost = ("count_include_pad", "storage_order", "dilations")
    kept = {key: value for key, value in editor.attributes(node).items() if key not in lost}
    editor.replace(node, POOLINGS[node.op_type], **kept)
    return True


@fault("other activation", *ACTIVATIONS)
def _(editor: Editor, node: NodeProto) -> bool:
    others = ACTIVATIONS[node.op_type]
    kind, attributes = others[editor.rng.integers(len(others))]
    editor.replace(node, kind, **attributes)
    return True


@fault("activation lost", *ACTIVATIONS)
def _(editor: Editor, node: NodeProto) -> bool:
    if editor.is_output(node.output[0]):
        return False
    editor.bypass(node, node.input[0])
    return True


@fault("activation lost, its name taken over", *ACTIVATIONS)
def _(editor: Editor, node: NodeProto) -> bool:
    source, target = node.input[0], node.output[0]
    if sum(source in one.input for one in editor.nodes) > 1:
        return False
    before = next((one for one in editor.nodes if source in one.output), None)
    if before is None:
        return False
    editor.nodes.remove(node)
    before.output[list(before.output).index(source)] = target
    return True


def _is_residual(editor: Editor, node: NodeProto) -> bool:
    shapes = [editor.shape(name) for name in node.input]
    return (
        not any(editor.is_constant(name) for name in node.input)
        and shapes[0] == shapes[1]
        and len(shapes[0]) > 1
        and not editor.is_output(node.output[0])
    )


@fault("residual lost", "Add")
def _(editor: Editor, node: NodeProto) -> bool:
    if not _is_residual(editor, node):
        return False
    editor.bypass(node, node.input[int(editor.rng.integers(2))])
    return True


@fault("residual rewired", "Add")
def _(editor: Editor, node: NodeProto) -> bool:
    return _is_residual(editor, node) and _rewire(editor, node, int(editor.rng.integers(2)))


def _rewire(editor: Editor, node: NodeProto, place: int) -> bool:
    """Let a node read a tensor of the same shape in place of one of its inputs.

    A tensor from which a chain of nodes computes that input would be the loss of a node.
    """
    names, lost = editor.before(node), {*node.input}
    name, computed = node.input[place], producers(editor.model)
    while name in computed:
        inputs = [one for one in node_inputs(computed[name]) if one in editor.values]
        lost.update(inputs)
        if len(inputs) != 1 or sum(inputs[0] in one.input for one in editor.nodes) > 1:
            break
        (name,) = inputs
    shape = editor.shape(node.input[place])
    names = [one for one in names if editor.shape(one) == shape and one not in lost]
    if not names:
        return False
    node.input[place] = names[-1 - editor.rng.integers(min(4, len(names)))]
    return True


@fault("residual doubled", "Add")
def _(editor: Editor, node: NodeProto) -> bool:
    if not _is_residual(editor, node):
        return False
    node.input[0] = node.input[1]
    return True


@fault("factor rewired", "Mul")
def _(editor: Editor, node: NodeProto) -> bool:
    shapes = [editor.shape(name) for name in node.input]
    if any(editor.is_constant(name) for name in node.input):
        return False
    return _rewire(editor, node, int(np.argmin([np.prod(shape) for shape in shapes])))


@fault("branches swapped", "Concat")
def _(editor: Editor, node: NodeProto) -> bool:
    shapes = [editor.shape(name) for name in node.input]
    if len(node.input) < 2 or len(shapes[0]) < 3:
        return False
    one, other = editor.rng.choice(len(node.input), 2, replace=False)
    if node.input[one] == node.input[other]:
        return False
    node.input[one], node.input[other] = node.input[other], node.input[one]
    return True


@fault("branch repeated", "Concat")
def _(editor: Editor, node: NodeProto) -> bool:
    if len({editor.shape(name) for name in node.input}) > 1:
        return False
    if len(node.input) < 2 or node.input[0] == node.input[1]:
        return False
    node.input[0] = node.input[1]
    return True


@fault("operands swapped", "Sub", "Div", "MatMul", "Pow")
def _(editor: Editor, node: NodeProto) -> bool:
    shapes = [editor.shape(name) for name in node.input]
    if len(set(shapes)) > 1 or node.input[0] == node.input[1]:
        return False
    node.input[0], node.input[1] = node.input[1], node.input[0]
    return True


@fault("axis", "Softmax")
def _(editor: Editor, node: NodeProto) -> bool:
    shape = editor.shape(node.input[0]) if node.input else ()
    if len(shape) < 2:
        return False
    axis = editor.attributes(node).get("axis", -1) % len(shape)
    editor.set(node, axis=axis - 1)
    return True


@fault("axes transposed", "Transpose")
def _(editor: Editor, node: NodeProto) -> bool:
    perm = editor.attributes(node).get("perm")
    shape = editor.shape(node.input[0]) if node.input else ()
    if perm is None or not shape:
        return False
    changed = list(perm)
    for one in range(len(perm)):
        for other in range(one):
            equal = shape[perm[one]] == shape[perm[other]] > 1
            if equal:
                changed[one], changed[other] = perm[other], perm[one]
                editor.set(node, perm=changed)
                return True
    return False


@fault("Gemm transposed", "Gemm")
def _(editor: Editor, node: NodeProto) -> bool:
    if len(set(editor.shape(node.input[1]))) > 1:
        return False
    editor.set(node, transB=1 - editor.attributes(node).get("transB", 0))
    return True


@fault("constant changed", "Mul", "Add", "Div", "Sub", "Clip", "Pow")
def _(editor: Editor, node: NodeProto) -> bool:
    for place, name in enumerate(node.input):
        value = editor.constants.get(name)
        if value is not None and value.dtype == np.float32:
            value = value.copy()
            value.flat[editor.rng.integers(value.size)] *= 1.2
            value.flat[0] += 1e-3
            editor.constant(node, place, value)
            return True
    return False


@fault("index changed", "Gather")
def _(editor: Editor, node: NodeProto) -> bool:
    if not editor.is_constant(node.input[1]):
        return False
    index, axis = editor.constants[node.input[1]], editor.attributes(node).get("axis", 0)
    length = (editor.shape(node.input[0]) or (1,))[axis]
    if length < 2 or editor.values.get(node.output[0], np.zeros(1)).dtype != np.float32:
        return False
    editor.constant(node, 1, (index + 1) % length)
    return True


@fault("groups reshaped otherwise", "Reshape")
def _(editor: Editor, node: NodeProto) -> bool:
    if not editor.is_constant(node.input[1]):
        return False
    shape = list(editor.shape(node.output[0]))
    if len(shape) != 5 or shape[1] == shape[2]:
        return False
    shape[1], shape[2] = shape[2], shape[1]
    editor.constant(node, 1, np.array(shape))
    return True


@fault("halves swapped", "Split")
def _(editor: Editor, node: NodeProto) -> bool:
    if len(node.output) != 2:
        return False
    node.output[:] = node.output[::-1]
    return True


@fault("Resize's mode", "Resize")
def _(editor: Editor, node: NodeProto) -> bool:
    attributes = editor.attributes(node)
    if editor.rng.integers(2):
        asymmetric = attributes.get("coordinate_transformation_mode") == b"asymmetric"
        other = "half_pixel" if asymmetric else "asymmetric"
        editor.set(node, coordinate_transformation_mode=other)
    else:
        editor.set(node, mode="nearest", nearest_mode="floor")
    return True


@fault("reset after the product", "GRU")
def _(editor: Editor, node: NodeProto) -> bool:
    editor.set(node, linear_before_reset=1 - editor.attributes(node).get("linear_before_reset", 0))
    return True


@fault("operator in float16", "Softmax", "Relu", "HardSwish", "Add")
def _(editor: Editor, node: NodeProto) -> bool:
    if editor.is_output(node.output[0]) or any(editor.is_constant(name) for name in node.input):
        return False
    place = [one.name for one in editor.nodes].index(node.name)
    casts = []
    for number, name in enumerate(node.input):
        casts.append(helper.make_node("Cast", [name], [f"{node.name}.half{number}"], to=10))
        node.input[number] = casts[-1].output[0]
    after = helper.make_node("Cast", [f"{node.name}.wide"], [node.output[0]], to=1)
    node.output[0] = f"{node.name}.wide"
    for number, cast in enumerate(casts):
        cast.name = f"{node.name}.before{number}"
        editor.nodes.insert(place, cast)
    after.name = f"{node.name}.after"
    editor.nodes.insert(place + len(casts) + 1, after)
    return True


# Rewrites: from a model, and the nodes to spare, to an equal model.
Rewrite = Callable[[ModelProto, Collection[str]], ModelProto | None]


def _fresh(model: ModelProto, name: str, value: np.ndarray) -> str:
    value = np.ascontiguousarray(value, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _replace_nodes(model: ModelProto, place: int, *nodes: NodeProto) -> None:
    kept = list(model.graph.node)
    new = [*kept[:place], *nodes, *kept[place + 1 :]]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in new]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _norm_terms(model: ModelProto, node: NodeProto) -> tuple[np.ndarray, np.ndarray]:
    constants = constant_values(model)
    scale, shift, mean, var = (constants[name].astype(float) for name in node.input[1:5])
    epsilon = {one.name: one.f for one in node.attribute}.get("epsilon", 1e-5)
    factor = scale / np.sqrt(var + epsilon)
    return factor, shift - mean * factor


def norms_as_mul_and_add(model: ModelProto, spared: Collection[str]) -> ModelProto | None:
    """Batch norm as Mul and Add."""
    model, changed = copy_of(model), False
    for node in [one for one in model.graph.node if one.op_type == "BatchNormalization"]:
        if node.name in spared:
            continue
        factor, term = (value.reshape(-1, 1, 1) for value in _norm_terms(model, node))
        names = [_fresh(model, f"{node.name}.{k}", v) for k, v in (("f", factor), ("t", term))]
        product = f"{node.name}.product"
        mul = helper.make_node("Mul", [node.input[0], names[0]], [product], f"{node.name}.mul")
        add = helper.make_node("Add", [product, names[1]], [node.output[0]], f"{node.name}.add")
        place = [one.name for one in model.graph.node].index(node.name)
        _replace_nodes(model, place, mul, add)
        changed = True
    return model if changed else None


def folded_norms(model: ModelProto, spared: Collection[str]) -> ModelProto | None:
    """Batch norm in the weights of the convolution before it."""
    model, changed = copy_of(model), False
    for name in [one.name for one in model.graph.node if one.op_type == "BatchNormalization"]:
        node = next(one for one in model.graph.node if one.name == name)
        conv = producers(model).get(node.input[0])
        readers = sum(node.input[0] in node_inputs(one) for one in model.graph.node)
        if conv is None or conv.op_type != "Conv" or readers > 1 or {name, conv.name} & {*spared}:
            continue
        constants = constant_values(model)
        factor, term = _norm_terms(model, node)
        weight = constants[conv.input[1]] * factor.reshape(-1, 1, 1, 1)
        bias = constants[conv.input[2]] * factor if len(conv.input) > 2 else 0
        conv.input[1:] = [
            _fresh(model, f"{name}.w", weight),
            _fresh(model, f"{name}.b", term + bias),
        ]
        conv.output[0] = node.output[0]
        model.graph.node.remove(node)
        changed = True
    return model if changed else None


def wide_kernels(model: ModelProto, spared: Collection[str]) -> ModelProto | None:
    """1x1 convolutions as 3x3 with zeros."""
    model, changed, constants = copy_of(model), False, constant_values(model)
    for node in model.graph.node:
        weight = constants.get(node.input[1]) if node.op_type == "Conv" else None
        if weight is None or weight.shape[2:] != (1, 1) or node.name in spared:
            continue
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if any(attributes.get("pads", ())):
            continue
        attributes |= {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        wide = np.pad(weight, ((0, 0), (0, 0), (1, 1), (1, 1)))
        node.input[1] = _fresh(model, f"{node.name}.wide", wide)
        changed = True
    return model if changed else None


def gemm_as_matmul(model: ModelProto, spared: Collection[str]) -> ModelProto | None:
    """Gemm as MatMul and Add."""
    model, changed, constants = copy_of(model), False, constant_values(model)
    for name in [one.name for one in model.graph.node if one.op_type == "Gemm"]:
        place = [one.name for one in model.graph.node].index(name)
        node = model.graph.node[place]
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = attributes.get("alpha", 1) == attributes.get("beta", 1) == 1
        if name in spared or not plain or attributes.get("transA") or len(node.input) < 3:
            continue
        weight = constants[node.input[1]]
        weight = weight.T if attributes.get("transB") else weight
        product = f"{name}.product"
        inputs = [node.input[0], _fresh(model, f"{name}.w", weight)]
        matmul = helper.make_node("MatMul", inputs, [product], f"{name}.matmul")
        add = helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{name}.add")
        _replace_nodes(model, place, matmul, add)
        changed = True
    return model if changed else None


def expanded_activations(model: ModelProto, spared: Collection[str]) -> ModelProto | None:
    """HardSwish as Mul with HardSigmoid, Relu as Clip, Div by a constant as Mul."""
    model, changed, constants = copy_of(model), False, constant_values(model)
    for name in [one.name for one in model.graph.node]:
        place = [one.name for one in model.graph.node].index(name)
        node = model.graph.node[place]
        if name in spared:
            continue
        if node.op_type == "HardSwish":
            gate = f"{name}.gate"
            sigmoid = helper.make_node(
                "HardSigmoid", [node.input[0]], [gate], f"{name}.sigmoid", alpha=1 / 6, beta=0.5
            )
            mul = helper.make_node("Mul", [node.input[0], gate], [node.output[0]], f"{name}.mul")
            _replace_nodes(model, place, sigmoid, mul)
        elif node.op_type == "Relu":
            zero = _fresh(model, f"{name}.zero", np.float32(0))
            clip = helper.make_node("Clip", [node.input[0], zero], [node.output[0]], f"{name}.clip")
            _replace_nodes(model, place, clip)
        elif node.op_type == "Div" and node.input[1] in constants:
            value = constants[node.input[1]]
            if value.dtype != np.float32:
                continue
            factor = _fresh(model, f"{name}.factor", 1 / value.astype(float))
            mul = helper.make_node("Mul", [node.input[0], factor], [node.output[0]], f"{name}.mul")
            _replace_nodes(model, place, mul)
        else:
            continue
        changed = True
    return model if changed else None


def identities(model: ModelProto, spared: Collection[str]) -> ModelProto | None:
    """An Identity before every third node."""
    model = copy_of(model)
    nodes, computed = [], set()
    for number, node in enumerate(model.graph.node):
        if number % 3 == 0 and node.name not in spared:
            found = [name for name in node.input if name in computed]
            if found:
                nodes.append(helper.make_node("Identity", found[:1], [f"{node.name}.same"]))
                nodes[-1].name = f"{node.name}.identity"
                node.input[list(node.input).index(found[0])] = f"{node.name}.same"
        computed.update(node.output)
        nodes.append(node)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


REWRITES: dict[str, Rewrite] = {
    "batch norm as Mul and Add": norms_as_mul_and_add,
    "folded batch norm": folded_norms,
    "1x1 convolutions as 3x3": wide_kernels,
    "Gemm as MatMul and Add": gemm_as_matmul,
    "activations expanded": expanded_activations,
    "identities": identities,
}


def renamed(model: ModelProto) -> ModelProto:
    """Return the same graph with other names of its inner tensors; nodes keep theirs."""
    model = copy_of(model)
    outer = {value.name for value in (*model.graph.input, *model.graph.output)}
    names = {name for node in model.graph.node for name in node.output if name} - outer
    new = {name: f"r{number}" for number, name in enumerate(sorted(names))}
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    del model.graph.value_info[:]
    return model


def faults_of(
    make: Callable[[], Editor], nodes: Mapping[str, str], kind: str
) -> Iterator[tuple[str, ModelProto]]:
    """Yield (node, model) for each of `nodes`, whose operators are given, that a kind fits."""
    for name, operator in nodes.items():
        if operator in KINDS[kind].operators:
            editor = make()
            if KINDS[kind].put(editor, editor.node(name)):
                yield name, editor.model
