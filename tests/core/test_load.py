"""The load by other processes: what counts as theirs, and where it is not known."""

import time

import pytest

from parity.core import load
from parity.core.load import OtherLoad, Ticks, excess_of_load, read_ticks


def laps(*ticks: Ticks | None) -> list[float | None]:
    left = iter(ticks)
    other = OtherLoad(lambda: next(left))
    return [other.lap() for _ in ticks[1:]]


def test_what_is_busy_and_not_ones_own_is_the_others():
    assert laps(Ticks(1000, 400, 300), Ticks(1200, 500, 350)) == [25]
    assert laps(Ticks(0, 0, 0), Ticks(100, 100, 0), Ticks(200, 200, 100)) == [100, 0]


def test_the_share_stays_within_0_and_100():
    """The system counts a process and a processor on clocks of their own."""
    assert laps(Ticks(0, 0, 0), Ticks(100, 50, 55), Ticks(200, 160, 54)) == [0, 100]


@pytest.mark.parametrize(
    "ticks",
    [(None, None), (None, Ticks(9, 9, 9)), (Ticks(9, 9, 9), None), (Ticks(9, 9, 9),) * 2],
)
def test_where_the_system_does_not_count_nothing_is_claimed(ticks):
    assert laps(*ticks) == [None]


def test_a_system_without_proc_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "PROC", tmp_path)
    assert read_ticks() is None


def test_the_time_of_this_process_is_its_own():
    before = read_ticks()
    if before is None:
        pytest.skip("this system does not count")
    began = time.process_time()
    while time.process_time() < began + 0.2:
        pass
    now = read_ticks()
    assert now.own - before.own >= 18  # ticks of 10 ms
    assert now.busy > before.busy and now.total > before.total


def test_a_load_beyond_its_bound_is_said():
    assert excess_of_load(None, 10) is None and excess_of_load(10.0, 10) is None
    assert excess_of_load(61.2, 10) == (
        "other processes took 61 % of the processors' time (benchmark.max_load: 10)"
    )
