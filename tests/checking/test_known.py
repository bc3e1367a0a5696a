import json
from collections import Counter

import pytest
from helpers.faulty import parse
from helpers.refusals import refused
from onnx import ModelProto

from parity.checking.known import Known, Records, known_faults, read_records, release
from parity.mending.rules import RULES
from parity.mending.steps import fitting
from parity.operators.record import Cause, Column, Finding, OperatorRecord

NEW, CLASSIC, OLD = ("5.0.0.93", "new"), ("5.0.0.93", "classic"), ("4.14.0.94", "classic")
BODY = "a = Relu (x) b = HardSigmoid (a) c = Mul (a, b) d = Elu (c) y = Elu (d)"
SHAPE = "float[N, 3, 8, 8]"


@pytest.fixture
def model() -> ModelProto:
    model = parse(BODY, f"{SHAPE} x", f"{SHAPE} y")
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return model


def finding(operator: str, case: str, verdict: str, cause: str | None = None) -> Finding:
    return Finding(case, operator, "as is", *NEW, verdict, "detail", cause=cause)


def record(*findings: Finding, **right: int) -> OperatorRecord:
    """A record of the new engine, with so many right cases of operators."""
    column = Column("new", "5.0.0.93")
    counts = {name: {column: Counter(right=count)} for name, count in right.items()}
    for one in findings:
        counts.setdefault(one.operator, {}).setdefault(column, Counter())[one.verdict] += 1
    probed = Counter(one.cause for one in findings if one.cause)
    causes = {key: Cause("text", count) for key, count in probed.items()}
    return OperatorRecord({}, (column,), counts, findings, causes)


def known(model: ModelProto, *columns: tuple[str, str], records: Records) -> list[Known]:
    return known_faults(model, fitting(model, RULES.values()), columns, records)


def test_a_rule_that_fits_names_node_reason_and_itself(model):
    (found,) = known(model, NEW, records=Records())
    assert (found.operator, found.nodes) == ("HardSigmoid", ("node_b",))
    assert found.source == "rule" and found.rule == "hard_sigmoid"
    assert "HardSwish" in found.text and "`hard_sigmoid` mends it" in found.text


def test_a_rule_whose_fault_this_opencv_lacks_is_not_named():
    model = parse("z = ConstantOfShape (s) y = Add (x, z)", "float[3] x", "float[3] y", s=[3])
    assert [one.rule for one in known(model, NEW, records=Records())] == ["constant_of_shape"]
    assert not known(model, CLASSIC, records=Records())


def test_the_models_that_a_rule_mends_are_named(model):
    records = Records(zoo={("hard_sigmoid", *NEW): ["mobilenet_v3_small"]})
    assert "as in mobilenet_v3_small" in known(model, NEW, records=records)[0].reason


def test_an_operator_is_certain_where_all_its_tests_fail(model):
    findings = finding("Elu", "onnx/test_elu", "refused"), finding("Relu", "relu#1", "different")
    records = Records(record(*findings, Relu=2))
    _, elu, relu = known(model, NEW, records=records)
    assert (elu.operator, elu.certain, elu.nodes) == ("Elu", True, ("node_d", "node_y"))
    assert elu.reason == "its tests fail: 1 refused (onnx/test_elu)"
    assert (relu.operator, relu.certain) == ("Relu", False)
    assert relu.reason == "some of its tests fail, 2 do not: 1 different (relu#1)"


def test_a_cause_that_takes_nan_or_infinity_is_left_out(model):
    findings = finding("Relu", "own/Relu/values_infinity#0", "different", cause="relu_of_infinity")
    assert not known(model, NEW, records=Records(record(findings, Relu=2)))[1:]


def test_a_cause_is_named_where_it_affects_a_node_and_nowhere_else():
    record_ = record(
        *(finding("Mish", f"own/mish#{n}", "different", "mish_of_two_tensors") for n in range(2)),
        finding("Softplus", "own/softplus#1", "different", "softplus_of_another_constant"),
    )
    records, shapes = Records(record_), ("float[3] x, float[3] c", "float[3] y")
    near_miss = parse("s = Softplus (c) t = Tanh (s) y = Mul (x, t)", *shapes)
    (found,) = known(near_miss, NEW, CLASSIC, records=records)
    assert (found.source, found.operator, found.nodes) == ("cause", "Mul", ("y",))
    assert found.certain and "computed as Mish(c)" in found.text
    assert found.reason.endswith("(tests: 2 different)") and found.engine == "new"
    mish = parse("s = Softplus (x) t = Tanh (s) z = Mul (x, t) y = Add (z, c)", *shapes)
    assert not known(mish, NEW, records=records)


def test_operators_in_subgraphs_count():
    body = """
        number = Cast <to = 9> (x)
        flag = Squeeze (number)
        y = If (flag) <
            then_branch = then () => (float[1] t) { t = Elu (x) },
            else_branch = other () => (float[1] e) { e = Relu (x) }
        >
    """
    model = parse(body, "float[1] x", "float[1] y")
    (found,) = known(model, NEW, records=Records(record(finding("Elu", "elu", "refused"))))
    assert found.operator == "Elu"


def test_an_upgrade_is_a_newer_release_in_the_records():
    records = Records(columns=frozenset([NEW, CLASSIC, OLD]))
    assert records.upgrade("4.14.0") == "5.0.0.93" and records.upgrade("5.0.0") is None
    assert records.upgrade("5.1.0-dev") is None
    assert records.of_release("4.14.0") == "4.14.0.94" and records.of_release("4.10.0") is None
    assert records.engines("5.0.0.93") == ["classic", "new"]
    assert release("5.0.0.93") == release("5.0.0-dev") == [5, 0, 0]


def test_the_projects_own_records_can_be_read():
    assert read_records().upgrade("4.13.0")


def test_the_record_of_models_says_which_rules_mend_which(tmp_path):
    cells = {
        "dynamo 20, new 5.0.0.93": {"mended": {"rules": {"hard_sigmoid": 9}}},
        "torchscript 20, new 5.0.0.93": {"mended": {"rules": {"hard_sigmoid": 9}}},
        "dynamo 20, classic 4.14.0.94": {"mended": None},
    }
    path = tmp_path / "metrics/coverage.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"models": {"mobilenet_v3_small": {"cells": cells}}}))
    records = read_records(tmp_path)
    assert records.zoo == {("hard_sigmoid", *NEW): ["mobilenet_v3_small"]}
    assert records.columns == {NEW, OLD} and records.operators is None
    path.write_text("{")
    with refused(f"{path}: damaged"):
        read_records(tmp_path)
