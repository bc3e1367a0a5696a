"""The simulation of a cluster."""

import pytest

from parity.inference.scale import Costs, Workload, simulate, stages_of

FREE = Costs(stage_s=0, load_s=0, task_s=0, merge_bytes_s=1e12)
STAGE = Workload("any", images=1000, batch_size=10, seconds=0.1, nbytes=4000)


def hours_of(workers: int, **costs: float) -> float:
    return simulate([STAGE], workers, Costs(**(vars(FREE) | costs))).seconds


@pytest.mark.parametrize("workers", [1, 2, 10])
def test_without_costs_the_work_is_shared_evenly(workers):
    assert hours_of(workers) == pytest.approx(100 / workers, rel=0.02)


def test_a_stage_takes_no_less_than_a_batch():
    assert hours_of(1000) == pytest.approx(1.0, rel=0.02)


def test_starting_is_paid_for_each_stage():
    found = simulate([STAGE, STAGE], 10, Costs(10, 5, 0, 1e12))
    assert found.seconds == pytest.approx(2 * (15 + 10), rel=0.02)


def test_a_slow_scheduler_or_writer_is_the_limit():
    found = simulate([STAGE], 100, Costs(0, 0, 1, 1e12))
    assert found.seconds >= found.scheduling_s == found.tasks
    nbytes = STAGE.images * STAGE.nbytes
    assert hours_of(100, merge_bytes_s=nbytes / 50) == pytest.approx(50, rel=0.05)


def test_ranges_take_a_minute_at_most_unless_a_batch_does():
    long = Workload("long", 100_000, 10, 0.1, 4000)
    assert simulate([long], 1, FREE).longest_s == pytest.approx(60)
    slow = Workload("slow", 100, 50, 3.0, 4000)
    assert simulate([slow], 10, FREE).longest_s == 150


def test_every_time_of_a_record_is_a_stage():
    cell = {"ms": 20.0, "onnxruntime_ms": 10.0}
    cells = {"dynamo 20, new 5.0": cell, "dynamo 20, classic 5.0": cell | {"ms": None}}
    models = {
        "a": {"task": "classification", "ms": 30.0, "cells": cells},
        "b": {"task": "segmentation", "ms": 30.0, "cells": cells},
    }
    images = {"classification": 1000, "segmentation": 10}
    found = {one.name: one for one in stages_of(models, images, 2.0, classes=10, batch_size=50)}
    names = {"pytorch", "onnxruntime, dynamo 20", "opencv, dynamo 20, new 5.0"}
    assert found.keys() == {f"{model}, {name}" for model in models for name in names}
    of_a, of_b = found["a, pytorch"], found["b, pytorch"]
    assert (of_a.images, of_a.batch_size, of_a.seconds, of_a.nbytes) == (1000, 50, 0.03, 40)
    assert (of_b.images, of_b.batch_size, of_b.seconds) == (10, 1, 0.06)
