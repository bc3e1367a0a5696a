"""Is a rule's replacement the same function as its pattern?"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto

from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.graph import output_names
from parity.mending.rule import Rule

INF = np.inf
TINY, LARGEST = 1e-45, 3.4e38
SPECIAL = [0.0, -0.0, np.nan, INF, -INF, TINY, -TINY, 1e-38, LARGEST, -LARGEST, 1, -1, 3, -3]
ROUNDING = 1e-13  # of float64, relative to the largest value
FLOAT32_ROUNDING = 1e-6


def applied(rule: Rule, model: ModelProto, places=None) -> tuple[ModelProto, list[str]]:
    """Return the model after a rule, and the changed places; the given one stays."""
    mended = ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model, data_prop=True))
    changed = rule.apply(mended, places)
    result = ir.serde.serialize_model(mended)
    onnx.checker.check_model(result, full_check=True)
    return result, changed


def blobs(*shape: int) -> dict[str, np.ndarray]:
    """Return random, extreme and special values of a shape, float32."""
    random = np.random.default_rng(0)
    size = int(np.prod(shape))
    return {
        "random": random.standard_normal(shape).astype(np.float32),
        "large": (random.standard_normal(shape) * 1e30).astype(np.float32),
        "small": (random.standard_normal(shape) * 1e-30).astype(np.float32),
        "special": np.resize(np.array(SPECIAL, np.float32), size).reshape(shape),
        "mixed": random.choice(np.array(SPECIAL, np.float32), size).reshape(shape),
    }


def assert_same_function(
    rule: Rule,
    model: ModelProto,
    *shapes: tuple[int, ...],
    feeds: Callable[[np.ndarray], Mapping[str, np.ndarray]] = lambda blob: {"input": blob},
) -> ModelProto:
    """Check that a rule changes the model and no output: in float64, by the reference evaluator,
    and in float32, by ONNX Runtime. Returns the changed model."""
    mended, changed = applied(rule, model)
    assert changed, f"{rule.name} does not fit"
    assert output_names(mended) == output_names(model)
    for shape in shapes:
        for kind, blob in blobs(*shape).items():
            for run, rounding in ((run_float64, ROUNDING), (run_onnxruntime, FLOAT32_ROUNDING)):
                before, after = (run(m, feeds(blob), output_names(m)) for m in (model, mended))
                for name, value in before.items():
                    where = f"{name}, {kind}, {run.__name__}"
                    _assert_close(after[name], value, 0 if rule.exact else rounding, where)
    return mended


def _assert_close(after: np.ndarray, before: np.ndarray, rounding: float, where: str) -> None:
    assert after.dtype == before.dtype and after.shape == before.shape, where
    if not rounding:
        np.testing.assert_array_equal(after, before, err_msg=where)
        return
    finite = np.isfinite(before)
    np.testing.assert_array_equal(after[~finite], before[~finite], err_msg=where)
    largest = np.abs(before[finite]).max(initial=0)
    np.testing.assert_allclose(after[finite], before[finite], 0, rounding * largest, err_msg=where)


def assert_untouched(rule: Rule, model: ModelProto) -> None:
    """Check that a rule does not fit anywhere in a model."""
    assert applied(rule, model)[1] == []
