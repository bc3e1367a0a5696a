import numpy as np
import pytest
from helpers import loaders
from helpers.operators import NEW, X, case

from parity.operators import engine
from parity.operators.engine import OpenCVProcess
from parity.operators.reasons import reason_of

pytestmark = pytest.mark.process


@pytest.fixture
def process(tmp_path):
    process = OpenCVProcess(NEW, None, tmp_path)
    yield process
    process.stop()


def test_many_cases_run_in_one_process_and_each_twice(process):
    for value in (X, 2 * X):
        found = process.run(case(feeds={"x": value}))
        assert found.failure is None and len(found.outputs) == 2
        np.testing.assert_array_equal(found.outputs[0][0], np.maximum(value, 0))
    refused = process.run(case("y = NoSuchOperator(x)"))
    assert refused.failure.kind == "refused"
    # The engine only prints it.
    assert reason_of(refused.failure.message) == "no layer for NoSuchOperator"


@pytest.mark.parametrize(("value", "kind"), [(6, "crashed"), (7, "timeout")])
def test_a_crash_or_a_hang_costs_only_its_case(tmp_path, monkeypatch, value, kind):
    monkeypatch.setattr(engine, "run_in_engine", loaders.run_as_fed)
    monkeypatch.setattr(engine, "TIME_LIMIT", 8)
    process = OpenCVProcess(NEW, None, tmp_path)
    failed = process.run(case(feeds={"x": np.full_like(X, value)}))
    assert failed.failure.kind == kind and not failed.outputs
    assert process.run(case()).failure is None
    process.stop()
