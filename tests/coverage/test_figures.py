from pathlib import Path

import pytest
from helpers.coverage import random_groups
from helpers.loaders import (
    load_crashing_once_dirty,
    load_doubling,
    load_drifting,
    load_running_out_once_dirty,
    load_slow_once_dirty,
    load_unwritten,
)
from helpers.params import write_params

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.params import load_params
from parity.coverage.figures import describe_rerun_difference, measure_groups, strip_machine_details
from parity.coverage.groups import Group, Outputs, run_groups
from parity.coverage.memory import LimitedForward
from parity.coverage.synthetic_images import patterns

DIRTY = {"MALLOC_PERTURB_": "165"}


@pytest.mark.process
def test_outputs_that_depend_on_unwritten_memory_are_found():
    group = random_groups()[0]

    def start(environment):
        return IsolatedForward(load_unwritten, limit_s=60, environment=environment)

    (plain,) = run_groups(start, [group]).values()
    (again,) = run_groups(start, [group], DIRTY, first_only=True).values()
    assert "from the first run" in describe_rerun_difference(plain, again.logits)
    assert describe_rerun_difference(plain, plain.logits) is None
    assert (
        describe_rerun_difference(plain, BackendFailure("crashed", "SIGABRT")) == "crashed: SIGABRT"
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("load", "run_that_differs"),
    [(load_doubling, None), (load_drifting, "a second run"), (load_unwritten, "dirty")],
)
def test_every_rerun_can_show_that_outputs_are_unstable(load, run_that_differs):
    def start(environment):
        return IsolatedForward(load, limit_s=60, environment=environment, quiet=True)

    groups = random_groups()
    referee = {group: Outputs(group.reference, 1.0) for group in groups}
    fresh = {"plain": {}, "dirty": DIRTY}
    for figures in measure_groups(start, groups, referee, fresh, Path()).values():
        assert (figures["unstable"] or {"run": None})["run"] == run_that_differs


@pytest.mark.process
@pytest.mark.parametrize(
    ("load", "key"),
    [
        (load_running_out_once_dirty, "fresh_failure"),
        (load_slow_once_dirty, "fresh_failure"),
        (load_crashing_once_dirty, "unstable"),
    ],
)
def test_a_rerun_that_meets_a_limit_does_not_make_an_output_unstable(project, load, key):
    write_params(project, {"coverage.memory_limit": 2, "coverage.time_limit": 5})
    limits = load_params().coverage
    blob = patterns(2, 4, 4, seed=0)
    group = Group(blob, 2, 2 * blob[:, :, 0, 0])
    referee = {group: Outputs(group.reference, 1.0)}

    def start(environment):
        return LimitedForward(limits, load, environment=environment)

    (figures,) = measure_groups(start, [group], referee, {"dirty": DIRTY}, Path()).values()
    assert figures["failure"] is None and figures["rel_pytorch"] == 0
    other = {"fresh_failure": "unstable", "unstable": "fresh_failure"}[key]
    assert figures[key] and figures[other] is None
    if key == "fresh_failure":
        kind, message = figures[key]["kind"], figures[key]["message"]
        assert kind == "timeout" or (kind == "error" and "out of memory, limit 2 GB" in message)


def test_a_reason_names_no_folder_of_this_machine():
    folder = Path("/data/work/net")
    message = (
        f"{folder}/dynamo18.onnx: OpenCV cannot read it: OpenCV(5.0.0) /io/opencv/modules/dnn/src/"
        "onnx_importer.cpp:1114: error: (-2:Unspecified error) in function 'handleNode'\n> Node"
    )
    expected = "OpenCV cannot read it: onnx_importer.cpp:1114: error: (-2:Unspecified error) in"
    assert strip_machine_details(message, folder) == f"{expected} function 'handleNode' > Node"
