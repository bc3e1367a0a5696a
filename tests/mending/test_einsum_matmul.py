import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched

from parity.backends.contract import BackendFailure
from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import FILE_OPENCV, engine_settings
from parity.mending.einsum_matmul import RULE

ATTENTION = {
    "queries and keys": ("BGHID, BGHJD -> BGHIJ", "N,4,2,5,3", "N,4,2,7,3"),
    "weights and values": ("B G H I J, B G H J D -> B G H I D", "N,4,2,5,3", "N,4,2,3,6"),
}
PRODUCTS = ATTENTION | {
    "a matrix product": ("ij,jk->ik", "N,3", "3,5"),
    "transposed": ("bki,bjk->jbi", "N,3,4", "N,5,3"),
    "without an output": ("kzb,bak", "3,4,6", "6,5,3"),
    "two summed axes": ("bijk,bkjm->bmi", "N,2,3,4", "N,4,3,5"),
    "no summed axis": ("bi,bj->bji", "N,2", "N,3"),
    "a vector": ("bij,bj->bi", "N,2,3", "N,3"),
    "two dot products": ("bi,bi->b", "N,4", "N,4"),
    "several rows and columns": ("bhcij,bkmc->bmihjk", "N,2,3,4,5", "N,2,3,3"),
    "no batch": ("ijk,klm->mlji", "2,3,4", "4,5,2"),
}

RANKS = {"kzb,bak": 2, "...ik,...kj->...ij": 3}  # of outputs that the equation does not list


def einsum(equation: str, left: str, right: str):
    inputs = f"float[{left}] input, float[{right}] other"
    rank = RANKS.get(equation) or len(equation.partition("->")[2].replace(" ", ""))
    outputs = f"float[{','.join('abcdef'[:rank])}] output"
    return parse(f'output = Einsum <equation = "{equation}"> (input, other)', inputs, outputs)


def feeds_for(left: str, right: str, batch: int):
    shape = [batch if size == "N" else int(size) for size in right.split(",")]

    def feeds(blob: np.ndarray):
        values = np.random.default_rng(1).permutation(np.resize(blob, np.prod(shape)))
        return {"input": blob, "other": values.reshape(shape)}

    return [batch if size == "N" else int(size) for size in left.split(",")], feeds


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("batch", [1, 2])
def test_it_is_the_same_function(product, batch):
    shape, feeds = feeds_for(*product[1:], batch)
    mended = assert_same_function(RULE, einsum(*product), tuple(shape), feeds=feeds)
    assert "Einsum" not in [node.op_type for node in mended.graph.node]


def test_an_empty_batch_stays_empty():
    model = einsum("bijk,bkjm->bmi", "N,2,3,4", "N,4,3,5")
    feeds = {"input": np.zeros((0, 2, 3, 4), "f"), "other": np.zeros((0, 4, 3, 5), "f")}
    for run in run_float64, run_onnxruntime:
        assert run(applied(RULE, model)[0], feeds, ["output"])["output"].shape == (0, 5, 2)


def test_a_sum_over_an_empty_axis_is_zero():
    model = einsum("bik,bkj->bij", "N,2,K", "N,K,3")
    feeds = {"input": np.zeros((1, 2, 0), "f"), "other": np.zeros((1, 0, 3), "f")}
    for run in run_float64, run_onnxruntime:
        output = run(applied(RULE, model)[0], feeds, ["output"])["output"]
        np.testing.assert_array_equal(output, np.zeros((1, 2, 3)))


NEAR_MISSES = {
    "a diagonal": ("bii,bij->bj", "N,3,3", "N,3,4"),
    "a sum over one operand": ("bik,bj->bij", "N,2,3", "N,4"),
    "an ellipsis": ("...ik,...kj->...ij", "N,2,3", "N,3,4"),
    "summed axes that may differ": ("bik,bkj->bij", "N,2,K", "N,L,3"),
    "a batch axis of size one": ("bik,bkj->bij", "N,2,3", "1,3,4"),
    "a summed axis of size one": ("bik,bkj->bij", "N,2,1", "N,4,3"),
    "merged axes of unknown size": ("bihk,bkj->bihj", "N,H,2,3", "N,3,4"),
}


@pytest.mark.parametrize("product", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_other_equations_stay(product):
    assert_untouched(RULE, einsum(*product))


@pytest.mark.parametrize("operands", ["input", "input, input, input"])
def test_another_number_of_operands_stays(operands):
    equation = {1: "ij->ij", 3: "ij,ij,ij->ij"}[operands.count("input")]
    body = f'output = Einsum <equation = "{equation}"> ({operands})'
    assert_untouched(RULE, parse(body, "float[N, 4] input", "float[N, 4] output"))


def test_integers_stay():
    body = 'output = Einsum <equation = "ij,kj->ik"> (input, input)'
    assert_untouched(RULE, parse(body, "int64[4, 4] input", "int64[4, 4] output"))


@pytest.mark.process
@pytest.mark.parametrize("product", ATTENTION.values(), ids=ATTENTION)
def test_the_classic_engine_computes_the_replacement(product):
    model = einsum(product[0].lower(), *product[1:])
    shape, feeds = feeds_for(*product[1:], 2)
    feeds = feeds(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    expected = run_onnxruntime(model, feeds, ["output"])["output"]
    settings = engine_settings(FILE_OPENCV.model_copy(update={"engine": "classic"}), ())
    with EngineProcess(settings) as engine:
        with pytest.raises(BackendFailure, match="broadcasted"):
            engine.run(model, feeds, ["output"])
        (output,) = engine.run(applied(RULE, model)[0], feeds, ["output"])
    np.testing.assert_allclose(output, expected, atol=1e-6)
