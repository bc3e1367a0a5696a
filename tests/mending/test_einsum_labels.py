import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched

from parity.backends.contract import BackendFailure
from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import FILE_OPENCV, engine_settings
from parity.mending.einsum_labels import RULE


def einsum(equation: str, rank: int, operands: str = "input, input"):
    outputs = f"float[{','.join('abcdef'[:rank])}] output"
    body = f'output = Einsum <equation = "{equation}"> ({operands})'
    return parse(body, "float[N, 3, 3] input", outputs)


def equation_of(model) -> str:
    return model.graph.node[0].attribute[0].s.decode()


@pytest.mark.parametrize(
    ("equation", "rank", "renamed"),
    [
        ("B I D, B J D -> B I J", 3, "a b c, a d c -> a b d"),
        ("bID,bJD->JIb", 3, "abc,adc->dba"),
        ("aAb,abB->AB", 2, "abc,acd->bd"),
        ("...iJ,...Ja", 3, "...ab,...bc->...ca"),
    ],
)
def test_it_is_the_same_function(equation, rank, renamed):
    mended = assert_same_function(RULE, einsum(equation, rank), (1, 3, 3), (3, 3, 3))
    assert equation_of(mended) == renamed


@pytest.mark.parametrize(
    ("equation", "rank", "renamed"),
    [("abZ,abA", 2, "abc,abd->dc"), ("...Ij,...jK", 3, "...ab,...bc->...ac")],
)
def test_capital_labels_come_first_in_an_output_that_is_not_listed(equation, rank, renamed):
    model = einsum(equation, rank)  # which ONNX Runtime refuses
    mended, _ = applied(RULE, model)
    feeds = {"input": np.random.default_rng(0).standard_normal((2, 3, 3))}
    before, after = (run_float64(one, feeds, ["output"])["output"] for one in (model, mended))
    np.testing.assert_array_equal(after, before)
    assert equation_of(mended) == renamed


@pytest.mark.parametrize("operands", ["input", "input, input, input"])
def test_the_number_of_operands_does_not_matter(operands):
    equation = ",".join(["NIJ"] * len(operands.split(","))) + "->NJI"
    assert_same_function(RULE, einsum(equation, 3, operands), (2, 3, 3))


def test_small_labels_stay():
    assert_untouched(RULE, einsum("bij,bkj->bik", 3))


@pytest.mark.process
def test_the_new_engine_computes_the_replacement():
    model = einsum("BID,BJD->BIJ", 3)
    feeds = {"input": np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)}
    expected = run_onnxruntime(model, feeds, ["output"])["output"]
    settings = engine_settings(FILE_OPENCV.model_copy(update={"engine": "new"}), ())
    # Beside the array that OpenCV leaves may be zeros, which hide the fault.
    dirty = {"MALLOC_PERTURB_": "165"}
    with EngineProcess(settings, dirty) as engine, pytest.raises(BackendFailure):
        engine.run(model, feeds, ["output"])
    with EngineProcess(settings, dirty) as engine:
        (output,) = engine.run(applied(RULE, model)[0], feeds, ["output"])
    np.testing.assert_allclose(output, expected, atol=1e-6)
