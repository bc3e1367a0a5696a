"""Search for the first wrong tensor of a graph, and for the smallest window that shows its fault.

The searches know no engine: they call functions that measure the difference at a tensor.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from parity.graphs.difference import Difference

SAMPLES = 40

# Whether a tensor is wrong; None where that is unknown.
IsWrong = Callable[[str], bool | None]


def shows_fault(difference: Difference, whole: Difference, limit: float) -> bool | None:
    """Whether a part of a graph shows the fault that the whole graph has; None where unknown.

    If the whole graph has an output, a part that fails does so because of the cut.
    """
    if whole.failed:
        return difference.failed
    return None if difference.failed else not difference.rel <= limit


def sample(order: Sequence[str], milestones: Collection[str], count: int = SAMPLES) -> list[int]:
    """Return about `count` evenly spaced places in `order`, always including the last.

    Each is moved to the nearest of `milestones` if one is near.
    """
    if len(order) <= count:
        return list(range(len(order)))
    step = len(order) / count
    preferred = [place for place, name in enumerate(order) if name in milestones]
    places = {len(order) - 1}
    for number in range(1, count):
        place = int(number * step)
        near = min(preferred, key=lambda other: abs(other - place), default=place)
        places.add(near if abs(near - place) <= step / 2 else place)
    return sorted(places)


def first_wrong_tensor(
    order: Sequence[str],
    milestones: Collection[str],
    inputs_of: Callable[[str], Sequence[str]],
    is_wrong: IsWrong,
) -> str | None:
    """Return the first tensor in `order` that is wrong although its inputs are right.

    A sample is measured first. If everything before some place is right and everything after it
    wrong, bisection finds the place; otherwise a scan does.
    """
    sampled = [(place, is_wrong(order[place])) for place in sample(order, milestones)]
    known = [(place, wrong) for place, wrong in sampled if wrong is not None]
    first = next((place for place, wrong in known if wrong), None)
    if first is None:
        return None
    last_right = max((place for place, wrong in known if not wrong and place < first), default=-1)
    if all(wrong for place, wrong in known if place >= first):
        first = _bisect(order, last_right, first, is_wrong)
    else:
        first = _scan(order, last_right, first, is_wrong)
    return _origin(order[first], inputs_of, is_wrong)


def _bisect(order: Sequence[str], right: int, wrong: int, is_wrong: IsWrong) -> int:
    while wrong - right > 1:
        middle = (right + wrong) // 2
        answer = is_wrong(order[middle])
        if answer is None:
            return _scan(order, right, wrong, is_wrong)
        right, wrong = (right, middle) if answer else (middle, wrong)
    return wrong


def _scan(order: Sequence[str], right: int, wrong: int, is_wrong: IsWrong) -> int:
    return next(place for place in range(right + 1, wrong + 1) if is_wrong(order[place]))


def _origin(name: str, inputs_of: Callable[[str], Sequence[str]], is_wrong: IsWrong) -> str:
    """Walk up while an input of the tensor is wrong: a bisection sees only one of two branches."""
    before = next((one for one in inputs_of(name) if is_wrong(one)), None)
    return name if before is None else _origin(before, inputs_of, is_wrong)


def smallest_window(
    windows: Iterable[list[int]], is_wrong: Callable[[list[int]], bool | None]
) -> list[int]:
    """Return the first window, as places of nodes, that shows a fault; empty if none does."""
    return next((places for places in windows if is_wrong(places)), [])
