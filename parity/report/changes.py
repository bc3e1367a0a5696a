"""What changed since another revision: verdicts, accuracy, rel and times, side by side."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from parity.core.cli import InputError
from parity.core.files import read_json
from parity.core.git import file_at
from parity.core.paths import OVERVIEW
from parity.evaluation.results import is_number

ABSENT = "not there"


@dataclass(frozen=True)
class Change:
    """A figure of a model that differs: both texts, and what the second is of the first, in words,
    empty where that says nothing."""

    model: str
    figure: str
    before: str
    now: str
    ratio: str


def find_changes(revision: str) -> list[Change]:
    """Compare metrics/overview.json with that of a revision of Git or an experiment of DVC.

    Raises InputError where there is no such revision, or it has no such file.
    """
    content = file_at(revision, OVERVIEW)
    if content is None:
        raise InputError(
            f"{revision}: neither a revision of Git nor an experiment of DVC that has {OVERVIEW}"
        )
    try:
        old = {name: dict(_flat(model)) for name, model in json.loads(content).items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{revision}: {OVERVIEW}: not an overview: {error}") from None
    new = read_json(OVERVIEW, lambda models: {key: dict(_flat(one)) for key, one in models.items()})
    changes = []
    for model in {**new, **old}:
        before, now = old.get(model), new.get(model)
        if before is None or now is None:
            texts = ["there" if one else ABSENT for one in (before, now)]
            changes.append(Change(model, "model", *texts, ""))
            continue
        for figure in {**now, **before}:
            pair = before.get(figure), now.get(figure)
            if pair[0] != pair[1]:
                changes.append(Change(model, figure, *map(_text, pair), _ratio(figure, *pair)))
    return changes


def _flat(content: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", value


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _ratio(figure: str, before: object, now: object) -> str:
    numbers = [isinstance(one, int | float) and is_number(one) for one in (before, now)]
    if not all(numbers) or not before or not figure.startswith(("ms", "rel", "exact")):
        return ""
    return f"{now / before:.2f} times"
