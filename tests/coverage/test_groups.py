import pytest
from helpers.coverage import random_groups
from helpers.loaders import (
    load_broadcasting,
    load_crashing_with_two,
    load_doubling,
    load_refusing,
)

from parity.backends.isolated import IsolatedForward
from parity.coverage.groups import Outputs, run_groups
from parity.evaluation.scores import relative_difference

pytestmark = pytest.mark.process


def run(load, groups=None, **options):
    def start(environment):
        return IsolatedForward(load, limit_s=60, environment=environment, quiet=True)

    return list(run_groups(start, groups or random_groups(), **options).values())


def test_images_run_alone_and_as_a_batch():
    groups = random_groups()
    assert all(
        relative_difference(outputs.logits, group.reference) == 0
        for outputs, group in zip(run(load_doubling, groups), groups, strict=True)
    )
    first = run(load_doubling, groups, first_only=True)
    assert [len(outputs.logits) for outputs in first] == [1, 2, 4]


def test_outputs_of_a_shape_that_would_broadcast_are_a_failure():
    alone, two, four = run(load_broadcasting)
    assert isinstance(alone, Outputs)
    assert two.kind == four.kind == "shape" and "(1, 3); expected (4, 3)" in str(four)


def test_after_a_crash_the_next_group_runs_in_a_new_process():
    alone, two, four = run(load_crashing_with_two)
    assert isinstance(alone, Outputs) and isinstance(four, Outputs)
    assert two.kind == "crashed" and "SIGSEGV" in str(two)


def test_a_model_that_cannot_be_read_fails_for_every_group():
    assert [failure.kind for failure in run(load_refusing)] == ["refused"] * 3
