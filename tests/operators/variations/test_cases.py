from itertools import islice

import numpy as np

from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.difference import compare
from parity.graphs.graph import output_names
from parity.operators.variations.cases import variations


def content(case):
    inputs = [(name, value.tobytes()) for name, value in case.inputs[0].items()]
    return case.name, case.cause, case.model.SerializeToString(), inputs


def test_a_seed_gives_the_same_cases_whatever_other_operators_are_drawn():
    alone = [content(case) for case in variations(["SiLU"])]
    among = [content(case) for case in variations(["SiLU", "Neg"]) if case.operator == "SiLU"]
    assert alone == among and len(alone) > 20


def test_another_seed_gives_others():
    one, other = (next(iter(variations(["Conv"], seed))) for seed in (0, 1))
    assert content(one) != content(other)


def test_names_are_unique_and_say_what_was_varied():
    names = [case.name for case in variations(["Mish"])]
    assert len({*names}) == len(names)
    assert {"own/Mish/drawn#0", "own/Mish/pattern#0", "own/Mish/other_operand#0"} <= {*names}


def test_each_case_runs_in_onnxruntime():
    for case in variations(["Conv+Add+Relu", "Split"]):
        outputs = run_onnxruntime(case.model, case.inputs[0], output_names(case.model))
        declared = {one.name: one.type.tensor_type.shape.dim for one in case.model.graph.output}
        for name, value in outputs.items():
            assert value.size and value.shape == tuple(one.dim_value for one in declared[name])


def test_what_onnxs_evaluator_computes_otherwise_is_no_case():
    """The evaluator divides by another sum where p is 1."""
    for case in islice(variations(["LpNormalization"]), 5):
        (node,) = case.model.graph.node
        assert next(one.i for one in node.attribute if one.name == "p") == 2


def test_where_onnxruntime_is_imprecise_the_exact_answers_are_expected():
    cases = [one for one in variations(["InstanceNormalization"]) if "mean_1000" in one.name]
    assert cases
    for case in cases:
        exact = run_float64(case.model, case.inputs[0], ["y"])["y"]
        ((expected,),) = case.expected
        assert expected.dtype == np.float32 and compare(expected, exact).rel < 1e-6


def test_where_float32_overflows_onnxruntime_is_right():
    """In float64, exp(100) is finite."""
    cases = [one for one in variations(["Softplus"]) if "mean_1000" in one.name]
    by_log = [one for one in cases if len(one.model.graph.node) > 1]
    assert by_log and all(one.expected is None for one in by_log)
