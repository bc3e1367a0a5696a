import json

import numpy as np
import pytest
from helpers.faulty import parse

from parity.graphs.graph import node_inputs
from parity.mending.rules import RULES
from parity.mending.steps import (
    METADATA,
    Step,
    apply_steps,
    differing_signature,
    fitting,
    read_steps,
    steps_text,
)

RULE = RULES["hard_sigmoid"]


@pytest.fixture
def model():
    body = "one = HardSigmoid (input) two = HardSigmoid (one) output = Mul (one, two)"
    made = parse(body, "float[N, 4] input", "float[N, 4] output")
    entry = made.metadata_props.add()
    entry.key, entry.value = "author", "someone"
    return made


def ops(model):
    return [node.op_type for node in model.graph.node]


def test_a_rule_that_fits_is_a_step_with_all_its_places(model):
    (step,) = fitting(model, RULES.values())
    assert (step.rule, step.places) == (RULE, ["one", "two"])
    assert steps_text([step]) == "2 \N{MULTIPLICATION SIGN} hard_sigmoid"


def test_steps_change_their_places_only_and_are_listed_in_the_file(model):
    before = model.SerializeToString()
    mended = apply_steps(model, [Step(RULE, ["two"])])
    assert ops(mended).count("HardSigmoid") == 1 and model.SerializeToString() == before
    assert "two" in node_inputs(mended.graph.node[-1])
    assert read_steps(mended) == [Step(RULE, ["two"])] and read_steps(model) == []
    entries = {entry.key: entry.value for entry in mended.metadata_props}
    assert entries == {"author": "someone", METADATA: '[["hard_sigmoid", ["two"]]]'}


def test_the_same_steps_write_the_same_file(model):
    first, second = (apply_steps(model, fitting(model, [RULE])) for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_no_steps_leave_the_file_as_it_is(model):
    assert apply_steps(model, []) is model


def test_a_place_that_a_rule_does_not_fit_is_refused(model):
    with pytest.raises(ValueError, match="hard_sigmoid does not fit output"):
        apply_steps(model, [Step(RULE, ["one", "output"])])


@pytest.mark.parametrize(
    "listed", ["{", "1", '[["no_rule", []]]', '["hard_sigmoid"]', '[["hard_sigmoid", 1]]']
)
def test_a_damaged_list_of_steps_is_refused(model, listed):
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, listed
    with pytest.raises(ValueError):
        read_steps(model)


def rename_output(model):
    model.graph.output[0].name = "other"


def fix_axis(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def drop_metadata(model):
    del model.metadata_props[:]


@pytest.mark.parametrize(
    ("change", "what"),
    [(rename_output, "outputs"), (fix_axis, "inputs"), (drop_metadata, "metadata")],
)
def test_another_interface_is_named(model, change, what):
    mended = apply_steps(model, fitting(model, [RULE]))
    assert differing_signature(model, mended) is None
    change(mended)
    assert differing_signature(model, mended) == what


def test_the_list_is_json_of_rules_and_places(model):
    mended = apply_steps(model, fitting(model, [RULE]))
    assert json.loads(mended.metadata_props[-1].value) == [["hard_sigmoid", ["one", "two"]]]


def test_a_rule_may_fit_only_after_another():
    """The length of a side is known only once the constant that it is computed from is folded."""
    body = """
        sizes = Abs (raw) image = Reshape (input, sizes)
        output = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            (image, , , large)
    """
    tensors = {"raw": np.int64([-1, 3, 1, 1]), "large": np.int64([2, 3, 4, 4])}
    made = parse(body, "float[N, 3] input", "float[2, 3, 4, 4] output", **tensors)
    steps = []
    for name in ("constant_folding", "resize_of_one_pixel"):
        steps += fitting(apply_steps(made, steps), [RULES[name]])
    assert [step.rule.name for step in steps] == ["constant_folding", "resize_of_one_pixel"]
    assert read_steps(apply_steps(made, steps)) == steps
