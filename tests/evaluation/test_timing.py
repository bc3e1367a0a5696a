"""Timing: each backend in turn, and what is made of the times."""

import time

import numpy as np
import pytest

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward, timed
from parity.core.params import BenchmarkParams, PerTask
from parity.evaluation import timing
from parity.evaluation.timing import (
    Measurement,
    measure,
    measure_undisturbed,
    spread_of,
    summarise,
)


def sleep_and_return(blob: np.ndarray) -> np.ndarray:
    time.sleep(0.05)
    return blob


def load_sleeping():
    return sleep_and_return


def options(runs: int, warmup: int = 0, **changes) -> BenchmarkParams:
    fields = {"confidence": 95, "resamples": 500, "max_load": 10, "max_spread": 25, "repeats": 2}
    fields |= {"time_limit": 60} | changes
    batch_size = PerTask(classification=1, segmentation=1)
    return BenchmarkParams(batch_size=batch_size, warmup=warmup, runs=runs, **fields)


def times(pytorch: list, opencv: list) -> dict[str, np.ndarray]:
    return {"pytorch": np.array(pytorch, float), "opencv": np.array(opencv, float)}


# Measuring


def test_each_backend_is_timed_once_per_round_and_warm_up_rounds_do_not_count():
    ran = []
    backends = {name: lambda blob, name=name: ran.append(name) for name in ("pytorch", "opencv")}
    measured, failures = measure(backends, np.zeros(1), options(3, warmup=2), "mine")
    assert ran == ["pytorch", "pytorch", "opencv", "opencv"] * 5 and not failures
    assert {name: values.shape for name, values in measured.items()} == {
        "pytorch": (3,),
        "opencv": (3,),
    }
    assert all((values > 0).all() and (values < 1000).all() for values in measured.values())


def test_the_pass_after_another_backends_is_not_the_one_that_is_timed():
    """It finds the threads of the backend asleep and its memory out of the cache."""
    last = ""

    def pass_of(name: str):
        def forward(blob: np.ndarray) -> None:
            nonlocal last
            time.sleep(0.05 if last != name else 0)
            last = name

        return forward

    backends = {name: pass_of(name) for name in ("pytorch", "opencv")}
    measured, _ = measure(backends, np.zeros(1), options(3), "mine")
    assert all((values < 25).all() for values in measured.values())


@pytest.mark.parametrize(("runs", "rounds"), [(3, 3), (5, 5), (20, 5)])
def test_rounds_that_take_too_long_are_fewer_but_five(runs, rounds):
    backends = {name: lambda blob: time.sleep(0.01) for name in ("pytorch", "opencv")}
    measured, _ = measure(backends, np.zeros(1), options(runs, time_limit=0.01), "mine")
    assert [len(values) for values in measured.values()] == [rounds, rounds]
    assert summarise(measured, 1, options(runs), seed=0)["runs"] == rounds


def test_the_time_limit_is_that_of_the_timed_rounds():
    slow = iter([0.4, 0.4])
    backends = {"pytorch": lambda blob: time.sleep(next(slow, 0)), "opencv": lambda blob: None}
    measured, _ = measure(backends, np.zeros(1), options(8, warmup=1, time_limit=0.6), "mine")
    assert len(measured["pytorch"]) == 8


def fails_in_pass(number: int):
    """A forward pass that fails from one on."""
    ran = []

    def forward(blob: np.ndarray) -> None:
        ran.append(blob)
        if len(ran) >= number:
            raise BackendFailure("error", "no")

    return forward, ran


def test_a_backend_that_fails_in_a_later_round_has_no_times_at_all():
    forward, ran = fails_in_pass(4)
    backends = {"pytorch": lambda blob: None, "opencv": forward}
    measured, failures = measure(backends, np.zeros(1), options(4), "mine")
    assert list(measured) == ["pytorch"] and len(ran) == 4
    assert {name: failure.kind for name, failure in failures.items()} == {"opencv": "error"}


def test_without_the_reference_there_is_nothing_to_measure():
    backends = {"pytorch": fails_in_pass(1)[0], "opencv": lambda blob: None}
    with pytest.raises(BackendFailure, match="no"):
        measure(backends, np.zeros(1), options(2), "mine")


def test_the_time_in_another_process_is_that_of_the_pass_alone():
    with IsolatedForward(load_sleeping, limit_s=20) as forward:
        blob = np.zeros((10, 3, 400, 400), np.float32)  # 19 MB, there and back
        began = time.perf_counter()
        _, seconds = timed(forward, blob)
        took = time.perf_counter() - began
    assert 0.05 <= seconds < took - 0.005


# Measuring again

CALM, WIDE = times([10, 10, 11, 10], [5, 5, 5, 5]), times([10, 10, 30, 30], [5, 5, 5, 5])


class Laps:
    """Stands for the load by other processes: before the rounds, then of each measurement."""

    def __init__(self, *loads: float | None) -> None:
        self.loads = list(loads)

    def lap(self) -> float | None:
        return self.loads.pop(0)


def undisturbed(measured: list, *loads: float | None, **changes):
    left = iter(measured)
    return measure_undisturbed(lambda: (next(left), {}), Laps(*loads), options(4, **changes))


def test_a_quiet_measurement_is_made_once_and_kept():
    found, conditions = undisturbed([CALM], 80.0, 9.9)
    assert found == Measurement(CALM, {}, 9.9)
    assert (conditions.load_before, conditions.load, conditions.measurements) == (80.0, 9.9, 1)
    assert conditions.spread == {"pytorch": 2.5, "opencv": 0} and conditions.disturbed is None
    assert conditions.date.endswith("+00:00")


def test_a_disturbed_measurement_is_repeated_until_one_is_quiet():
    found, conditions = undisturbed([CALM, WIDE, CALM], 0.0, 50.0, 0.0, 3.0)
    assert found.load == 3.0
    assert (conditions.measurements, conditions.disturbed) == (3, None)


def test_of_disturbed_measurements_the_least_disturbed_one_is_kept_and_marked():
    found, conditions = undisturbed([CALM] * 3, 0.0, 50.0, 30.0, 70.0)
    assert (found.load, conditions.load, conditions.measurements) == (30.0, 30.0, 3)
    assert conditions.disturbed == (
        "other processes took 30 % of the processors' time (benchmark.max_load: 10)"
    )


def test_a_slow_measurement_is_not_repeated(monkeypatch):
    monkeypatch.setattr(timing, "REPEAT_WITHIN_S", -1)
    _, conditions = undisturbed([CALM], 0.0, 50.0)
    assert conditions.measurements == 1 and conditions.disturbed


def test_rounds_that_differ_much_are_disturbed_though_no_process_is_seen():
    _, conditions = undisturbed([WIDE], None, None, repeats=0)
    assert conditions.disturbed == "spread of PyTorch 100 % (benchmark.max_spread: 25)"
    assert conditions.load is None and conditions.measurements == 1


def test_where_the_load_is_not_known_the_spread_alone_judges():
    assert undisturbed([CALM], None, None)[1].disturbed is None


def test_the_spread_is_the_interquartile_range_over_the_median():
    assert spread_of(np.array([8.0, 9.0, 10.0, 11.0, 12.0])) == pytest.approx(20)
    assert spread_of(np.array([10.0, 10.0, 10.0, 10.0, 900.0])) == 0


# Summarising


def test_the_figures_against_medians_by_hand():
    result = summarise(times([10, 30, 20, 1000, 20], [5, 4, 6, 5, 90]), 8, options(5), seed=0)
    assert (result["batch_size"], result["runs"]) == (8, 5)
    assert result["pytorch"] == {
        "median_ms": 20,
        "p95_ms": pytest.approx(30 + 0.8 * (1000 - 30)),
        "images_per_s": 1000 * 8 / 20,
    }
    assert result["opencv"]["median_ms"] == 5
    assert result["opencv"]["images_per_s"] == 1000 * 8 / 5
    assert result["opencv_over_pytorch"] == 5 / 20


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_holds_the_ratio(seed):
    rng = np.random.default_rng(seed)
    values = times(20 + rng.exponential(5, 30), 10 + rng.exponential(5, 30))
    result = summarise(values, 1, options(30), seed=seed)
    interval = result["opencv_over_pytorch_interval"]
    assert interval["low"] < result["opencv_over_pytorch"] < interval["high"]
    assert interval["confidence"] == 95


def test_more_confidence_makes_a_wider_interval():
    rng = np.random.default_rng(0)
    values = times(20 + rng.exponential(5, 30), 10 + rng.exponential(5, 30))
    widths = []
    for confidence in (50, 99):
        result = summarise(values, 1, options(30, confidence=confidence), seed=0)
        interval = result["opencv_over_pytorch_interval"]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] < widths[1]


def test_a_round_that_is_slow_for_both_is_no_difference_between_them():
    pytorch = np.random.default_rng(0).uniform(10, 100, 20)
    result = summarise(times(pytorch, pytorch / 2), 1, options(20), seed=0)
    interval = result["opencv_over_pytorch_interval"]
    assert interval["low"] == pytest.approx(0.5) and interval["high"] == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(0)
    values = times(rng.uniform(1, 9, 20), rng.uniform(1, 9, 20))
    one, two = (summarise(values, 1, options(20), seed=3) for _ in range(2))
    assert one == two


def test_without_times_of_opencv_there_is_no_ratio():
    result = summarise({"pytorch": np.ones(5)}, 1, options(5), seed=0)
    assert result["opencv_over_pytorch"] is None and "opencv" not in result
    interval = {"low": None, "high": None, "confidence": 95}
    assert result["opencv_over_pytorch_interval"] == interval
