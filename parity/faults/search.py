"""The search for the first tensor that is wrong, and for the smallest window that shows it.

Both know no engine: they ask functions for the difference at a tensor.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from parity.graphs.difference import Difference

SAMPLES = 40

# Whether a tensor is wrong; None where that cannot be told.
Verdict = Callable[[str], bool | None]


def verdict_of(difference: Difference, whole: Difference, limit: float) -> bool | None:
    """Whether a part of a graph shows the fault that the whole has.

    Where the whole has an output, a part that fails does so for the cut's sake and tells nothing.
    """
    if whole.failed:
        return difference.failed
    return None if difference.failed else not difference.rel <= limit


def sample(order: Sequence[str], milestones: Collection[str], count: int = SAMPLES) -> list[int]:
    """About `count` places in `order`, evenly spaced and the last one always, each moved to the
    next of `milestones` where one is near."""
    if len(order) <= count:
        return list(range(len(order)))
    step, liked = (
        len(order) / count,
        [place for place, one in enumerate(order) if one in milestones],
    )
    places = {len(order) - 1}
    for number in range(1, count):
        place = int(number * step)
        near = min(liked, key=lambda other: abs(other - place), default=place)
        places.add(near if abs(near - place) <= step / 2 else place)
    return sorted(places)


def first_fault(
    order: Sequence[str],
    milestones: Collection[str],
    inputs_of: Callable[[str], Sequence[str]],
    wrong: Verdict,
) -> str | None:
    """The first tensor in `order` that is wrong while what it is computed of is not.

    `wrong` is asked for a sample first. Where all is right up to a point and wrong behind it, the
    rest is bisected, else it is scanned.
    """
    told = [(place, wrong(order[place])) for place in sample(order, milestones)]
    told = [(place, verdict) for place, verdict in told if verdict is not None]
    bad = [place for place, verdict in told if verdict]
    if not bad:
        return None
    first = bad[0]
    right = max((place for place, verdict in told if not verdict and place < first), default=-1)
    if all(verdict for place, verdict in told if place >= first):
        first = _bisect(order, right, first, wrong)
    else:
        first = next(place for place in range(right + 1, first + 1) if wrong(order[place]))
    return _origin(order[first], inputs_of, wrong)


def _bisect(order: Sequence[str], right: int, bad: int, wrong: Verdict) -> int:
    while bad - right > 1:
        middle = (right + bad) // 2
        verdict = wrong(order[middle])
        if verdict is None:  # the rest one by one
            return next(place for place in range(right + 1, bad + 1) if wrong(order[place]))
        right, bad = (right, middle) if verdict else (middle, bad)
    return bad


def _origin(name: str, inputs_of: Callable[[str], Sequence[str]], wrong: Verdict) -> str:
    """Go up as long as something that a tensor is computed of is wrong: of two branches bisection
    sees one."""
    before = next((one for one in inputs_of(name) if wrong(one)), None)
    return name if before is None else _origin(before, inputs_of, wrong)


def confirm(
    windows: Iterable[list[int]],
    error_of: Callable[[list[int]], Difference],
    wrong: Callable[[Difference], bool | None],
) -> list[int]:
    """The first window that shows a fault, by the places of its nodes; empty where none does."""
    return next((places for places in windows if wrong(error_of(places))), [])
