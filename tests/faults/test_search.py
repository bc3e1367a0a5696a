from math import inf

import numpy as np
import pytest

from parity.faults.search import first_wrong_tensor, sample, shows_fault, smallest_window
from parity.graphs.difference import Difference


def search_chain(wrong: set[int], unknown: set[int] = frozenset(), length: int = 200):
    """Search a chain of tensors; returns the one found, and those that were asked for."""
    order, asked = [str(number) for number in range(length)], []

    def is_wrong(name: str) -> bool | None:
        asked.append(name)
        return None if int(name) in unknown else int(name) in wrong

    def before(name: str) -> list[str]:
        return [str(int(name) - 1)] if int(name) else []

    return first_wrong_tensor(order, order, before, is_wrong), set(asked)


@pytest.mark.parametrize("first", [0, 1, 37, 120, 199])
def test_where_everything_after_the_first_is_wrong_bisection_finds_it(first):
    found, asked = search_chain(set(range(first, 200)))
    assert found == str(first) and len(asked) < 50


def test_where_right_and_wrong_alternate_a_scan_finds_the_first():
    found, asked = search_chain({62, *range(63, 80), *range(150, 200)})
    assert found == "62" and len(asked) < 60


def test_unknown_tensors_are_skipped():
    found, _ = search_chain(set(range(101, 200)), unknown=set(range(95, 101)))
    assert found == "101"
    assert search_chain(set(), unknown=set(range(200)))[0] is None


def test_where_nothing_is_wrong_nothing_is_found():
    assert search_chain(set())[0] is None


def test_of_two_branches_the_first_wrong_tensor_is_found():
    """In the order a0 b0 a1 b1 ..., only branch b is wrong, from b10 on."""
    order = [f"{branch}{number}" for number in range(60) for branch in "ab"] + ["join"]

    def is_wrong(name: str) -> bool:
        return name == "join" or (name[0] == "b" and int(name[1:]) >= 10)

    def before(name: str) -> list[str]:
        if name == "join":
            return ["a59", "b59"]
        return [f"{name[0]}{int(name[1:]) - 1}"] if int(name[1:]) else []

    assert first_wrong_tensor(order, ["join"], before, is_wrong) == "b10"


def test_a_sample_is_spaced_evenly_ends_with_the_output_and_prefers_milestones():
    order = [str(number) for number in range(400)]
    plain = sample(order, [], count=40)
    assert plain[-1] == 399 and len(plain) == 40
    assert np.diff(plain).max() <= 10
    assert 103 in sample(order, ["103"], count=40)
    assert sample(order[:30], [], count=40) == list(range(30))


def test_the_smallest_window_that_shows_a_fault_is_returned():
    windows = [[9], [8, 9], [7, 8, 9], [6, 7, 8, 9]]
    errors = {1: 0.0, 2: 1e-6, 3: 0.5, 4: 0.5}

    def is_wrong(places: list[int]) -> bool:
        return errors[len(places)] > 1e-4

    assert smallest_window(windows, is_wrong) == [7, 8, 9]
    assert smallest_window(windows[:2], is_wrong) == []


def test_a_part_that_fails_does_not_show_the_fault_of_a_whole_that_runs():
    failed, off, right = Difference(inf, "refused"), Difference(inf, "shape"), Difference(0.0)
    assert shows_fault(failed, Difference(0.5), 1e-4) is None
    assert shows_fault(off, Difference(0.5), 1e-4) is True
    assert shows_fault(right, Difference(0.5), 1e-4) is False
    assert shows_fault(failed, failed, 1e-4) is True
    assert shows_fault(off, failed, 1e-4) is False
