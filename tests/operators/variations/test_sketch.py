import numpy as np

from parity.operators.variations.sketch import Sketch, parse_nodes

X = np.ones((2, 3), np.float32)


def test_a_model_declares_the_types_that_onnxruntime_computes():
    model, outputs = Sketch(parse_nodes("y = Shape(x)"), {"x": X}, {}).run()
    assert outputs["y"].tolist() == [2, 3]
    (output,) = model.graph.output
    assert output.type.tensor_type.elem_type == 7  # INT64
    assert [one.dim_value for one in output.type.tensor_type.shape.dim] == [2]


def test_what_onnxruntime_refuses_or_leaves_empty_is_no_model():
    weights = {"w": np.ones((4, 5), np.float32)}
    assert Sketch(parse_nodes("y = MatMul(x, w)"), {"x": X}, weights).run() is None
    ends = {"start": np.array([2]), "end": np.array([2])}
    assert Sketch(parse_nodes("y = Slice(x, start, end)"), {"x": X}, ends).run() is None


def test_readers_and_fresh_names():
    sketch = Sketch(parse_nodes("other = Neg(x) y = Mul(x, other)"), {"x": X}, {})
    assert sketch.readers("x") == [(0, 0), (1, 0)]
    assert sketch.fresh_name("other") == "other0" and sketch.fresh_name("new") == "new"
