"""ONNX's own tests of operators and small models, as the installed `onnx` package ships them."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TypeProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

from parity.core.cli import log
from parity.operators.case import EXPANDED_ROW, Case, Value

FOLDERS = ("simple", "pytorch-operator", "pytorch-converted")
LIGHT = "onnx/backend/test/data/light/"  # real networks whose weights nodes compute
EXPANDED = re.compile(r"_expanded.*$")  # the name of a test whose function is written as nodes
AROUND = ("Constant", "Identity")  # nodes that give an operator its inputs


def onnx_cases() -> list[Case]:
    """Return ONNX's tests of nodes, its `simple`, `pytorch-operator` and `pytorch-converted` models
    and its `light` networks, sorted by name. Tests whose model must be downloaded are left out,
    with a line in the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests divide by zero on purpose
        tests = load_model_tests(kind="node")
    cases = [*_node_cases(tests), *_light_cases()]
    for folder in FOLDERS:
        tests = load_model_tests(kind=folder)
        cases += (_folder_case(folder, Path(test.model_dir)) for test in tests)
    return sorted(cases, key=lambda case: case.name)


def _node_cases(tests: list[TestCase]) -> Iterator[Case]:
    operators = {test.name: _operator_of(test.model, test.name) for test in tests}
    for test in tests:
        base = EXPANDED.sub("", test.name)
        operator = operators[test.name]
        if base != test.name:
            operator = operators.get(base, base.removeprefix("test_")) + EXPANDED_ROW
        inputs = [_named(test.model.graph.input, values) for values, _ in test.data_sets]
        expected = [list(map(_array, outputs)) for _, outputs in test.data_sets]
        yield Case(f"onnx/{test.name}", operator, test.model, inputs, expected)


def _folder_case(folder: str, path: Path) -> Case:
    model = onnx.load(path / "model.onnx")
    inputs, expected = [], []
    for data in sorted(path.glob("test_data_set_*")):
        values = (_read_all(data, kind, model) for kind in ("input", "output"))
        inputs.append(_named(model.graph.input, next(values)))
        expected.append(next(values))
    return Case(f"{folder}/{path.name}", _operator_of(model, path.name), model, inputs, expected)


def _light_cases() -> Iterator[Case]:
    for test in load_model_tests(kind="real"):
        if not test.url.startswith(LIGHT):
            log(f"{test.name}: left out, because its model must be downloaded")
            continue
        path = Path(onnx.__file__).parents[1] / test.url
        model = onnx.load(path)
        weights = {tensor.name for tensor in model.graph.initializer}
        (image,) = (value for value in model.graph.input if value.name not in weights)
        shape = [one.dim_value for one in image.type.tensor_type.shape.dim]
        # As ONNX's runner draws it; the expected output belongs to it.
        blob = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
        output = numpy_helper.to_array(onnx.load_tensor(f"{path.with_suffix('')}_output_0.pb"))
        yield Case(f"light/{test.name}", path.stem, model, [{image.name: blob}], [[output]])


def _operator_of(model: ModelProto, name: str) -> str:
    """The operator of a graph that has only one; else the name of the test, a pattern."""
    found = {node.op_type for node in model.graph.node if node.op_type not in AROUND}
    found = found or {node.op_type for node in model.graph.node}
    return found.pop() if len(found) == 1 else name.removeprefix("test_")


def _named(graph_inputs: list, values: list) -> dict[str, Value]:
    """Values by input name; an optional input without a value has none."""
    pairs = zip(graph_inputs, values, strict=False)  # old files list weights as inputs
    return {one.name: _array(value) for one, value in pairs if value is not None}


def _array(value: object) -> Value:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, list) or value is None else np.asarray(value)


def _read_all(folder: Path, kind: str, model: ModelProto) -> list[Value]:
    """Read the values of a data set: files input_0.pb and so on, in the graph's order."""
    types = [one.type for one in getattr(model.graph, kind)]
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [_read(folder / f"{kind}_{place}.pb", types[place]) for place in range(count)]


def _read(path: Path, kind: TypeProto) -> Value:
    content = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))
