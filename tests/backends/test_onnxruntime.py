import numpy as np
import onnx
import pytest
from helpers.onnx_files import write_tiny_onnx

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime, write_optimized

BLOB = np.ones((1, 3), np.float32)


def parsed(body: str) -> onnx.ModelProto:
    head = '<ir_version: 9, opset_import: ["" : 18]> any (float[N, 3] x) => (float[N, 3] y)'
    return onnx.parser.parse_model(f"{head} {{ {body} }}")


def test_the_outputs_that_are_named_are_computed():
    model = parsed("z = Neg (x) y = Relu (z)")
    model.graph.output.append(onnx.ValueInfoProto(name="z"))
    found = run_onnxruntime(model, {"x": BLOB}, ["z", "y"])
    assert list(found) == ["z", "y"]
    np.testing.assert_array_equal(found["z"], -BLOB)
    np.testing.assert_array_equal(found["y"], 0 * BLOB)


@pytest.mark.parametrize(
    ("body", "blob", "kind", "text"),
    [
        ("y = NoSuchOperation (x)", BLOB, "refused", "ONNX Runtime cannot read it: "),
        ("y = Relu (x)", np.ones((1, 4, 4), np.float32), "error", "ONNX Runtime cannot run it: "),
    ],
)
def test_a_failure_is_one_line_of_its_kind(body, blob, kind, text):
    with pytest.raises(BackendFailure) as caught:
        run_onnxruntime(parsed(body), {"x": blob}, ["y"])
    assert caught.value.kind == kind
    assert str(caught.value).startswith(text) and "\n" not in str(caught.value)


def test_an_optimized_file_has_its_constants_folded(tmp_path):
    path = write_tiny_onnx(tmp_path / "a.onnx", ("Add", {"inputs": [np.float32([1])]}))
    model = onnx.load(path)
    model.graph.node.insert(0, onnx.helper.make_node("Neg", ["weights"], ["negated"]))
    node = next(node for node in model.graph.node if "weights" in node.input[1:])
    node.input[1] = "negated"
    onnx.save(model, path)
    write_optimized(path, tmp_path / "b.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert "Neg" not in operators and "Gemm" in operators
    path.write_bytes(b"no model")
    with pytest.raises(BackendFailure, check=lambda failure: failure.kind == "refused"):
        write_optimized(path, tmp_path / "c.onnx")
