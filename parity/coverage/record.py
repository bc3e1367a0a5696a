"""The record of `make coverage`: the verdict of each model and combination, as JSON.

    {"constants": …, "limits_of_a_process": …, "processors": […],
     "models": {model: {"task": …, "cells": {combination: {"verdict": …, …}}}}}

metrics/coverage.json is the record of full runs, and metrics/coverage-<zoo>.json that of another
zoo than torchvision; there a model also has what it sets for itself, `own`.

Cells are measured on several machines, and not all of them are on this disk: a new record takes the
others from the old one.
"""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from parity.core.cli import InputError
from parity.core.git import file_at
from parity.core.machine import cpu_model
from parity.core.params import TORCHVISION, Params
from parity.core.versions import version_numbers
from parity.coverage.cell_verdict import VERDICTS, judge_cell
from parity.coverage.cells import (
    RECORD,
    Combination,
    Figures,
    combination_of,
    limits_may_cure,
    measurement_conditions,
    of_zoo,
    own_settings,
    process_limits,
    read_cells,
)
from parity.coverage.mended import judge_mended

# What a record takes from a model's reference, beside its task.
MODEL_KEYS = ("parameters", "spread", "noise", "ms", "exact", "exact_failure")
Record = dict  # of JSON, as above
Key = tuple[str, Combination]  # the model and the combination of a cell
LABELS = ("same", "same (fixed)", *list(VERDICTS)[1:])  # best first


def read_record(source: str | Path, zoo: str = TORCHVISION) -> Record:
    """Read a record from its path, or from a revision of Git that has the record of a zoo.

    Raises InputError where there is none, or where it is damaged.
    """
    tracked = of_zoo(RECORD, zoo)
    if Path(source).is_file():
        text = Path(source).read_bytes()
    elif str(source).startswith("-"):
        raise InputError(f"{source}: no such file; expected a record or a revision of Git")
    else:
        text = file_at(str(source), tracked)
        if text is None:
            raise InputError(f"{source}: neither a file nor a revision of Git that has {tracked}")
    try:
        record = json.loads(text)
        labels_of(record), record["constants"]["versions"], record["limits_of_a_process"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"not a record of `make coverage`: {type(error).__name__}: {error}"
        mend = f"; `git checkout {tracked}` brings it back" if source == tracked else ""
        raise InputError(f"{source}: {reason}{mend}") from None
    return record


def full_record(
    params: Params, tried: Collection[Combination] = (), zoo: str = TORCHVISION
) -> Record:
    """Build what the record of a zoo holds after a full run that tried these combinations.

    Cells on disk are used if their combination was tried now or is in the old record. With no
    combinations of either kind, all are used. Cells that exist only in the old record are kept.
    Raises InputError if a cell of the old record would be lost.
    """
    check_nothing_is_lost(params, zoo=zoo)
    path = of_zoo(RECORD, zoo)
    old = read_record(path, zoo) if path.exists() else None
    columns = {*tried, *(combinations_of(old) if old else ())}
    cells = read_cells(params, zoo)
    if columns:
        cells = [figures for figures in cells if combination_of(figures) in columns]
    return build_record(cells, params, old, zoo)


def narrowed_record(params: Params, tried: Collection[Key], zoo: str = TORCHVISION) -> Record:
    """Build the record of the cells on disk that a narrowed run tried, and of no others."""
    cells = [cell for cell in read_cells(params, zoo) if key_of(cell) in tried]
    return build_record(cells, params, zoo=zoo)


def build_record(
    cells: Iterable[Figures], params: Params, old: Record | None = None, zoo: str = TORCHVISION
) -> Record:
    """Judge cells of a zoo; those of an old record that are not among them stay where they are
    still valid (`kept_cells`)."""
    models: dict[str, Figures] = {}
    processors: set[str] = set()
    if old:
        for (name, combination), cell in kept_cells(old, params, zoo)[0].items():
            model = models.setdefault(name, old["models"][name] | {"cells": {}})
            model["cells"][str(combination)] = cell
            processors |= set(old["processors"])
    for figures in cells:
        processors.add(cpu_model())
        model = models.setdefault(figures["model"], {"cells": {}})
        model["task"] = figures["task"]
        reference = figures["reference"]
        model |= {key: reference.get(key) for key in MODEL_KEYS}
        if own := own_settings(params, zoo, figures["model"]):
            model["own"] = own
        model["cells"][str(combination_of(figures))] = recorded_cell(figures, params)
    for model in models.values():
        model["cells"] = dict(sorted(model["cells"].items()))
    return {
        "constants": record_constants(params, zoo),
        "limits_of_a_process": process_limits(params),
        "processors": sorted(processors),
        "models": dict(sorted(models.items())),
    }


def recorded_cell(figures: Figures, params: Params) -> Figures:
    """The entry of a cell in a record."""
    verdict = judge_cell(figures, params)
    return {
        "verdict": verdict.verdict,
        "owner": verdict.owner,
        "reason": verdict.reason,
        "rel": verdict.rel,
        "exactness": verdict.exactness,
        "onnxruntime_exactness": verdict.onnxruntime_exactness,
        "fixed": verdict.fixed,
        "ms": figures["groups"][0]["ms"] if figures["groups"] else None,
        "onnxruntime_ms": figures["onnxruntime"]["ms"],
        "mended": recorded_mending(figures, params),
    }


def recorded_mending(figures: Figures, params: Params) -> Figures | None:
    """What a record holds of a cell's mended file; None where mending was not tried."""
    mended = figures.get("mended")
    if mended is None:
        return None
    verdict = judge_mended(figures, params)
    return {
        "verdict": verdict and verdict.verdict,
        "reason": verdict.reason if verdict else "; ".join(mended["tried"]) or "no rule fits",
        "rules": mended["rules"],
        "rel": verdict and verdict.rel,
        "exactness": verdict and verdict.exactness,
        "ms": mended["groups"][0]["ms"] if mended["groups"] else None,
    }


def check_nothing_is_lost(
    params: Params, planned: Collection[Key] = (), zoo: str = TORCHVISION
) -> None:
    """Raise InputError where the next full record of a zoo would lose cells of the last one: cells
    that were measured or judged under other conditions, and are neither on disk nor `planned`."""
    path = of_zoo(RECORD, zoo)
    if not path.exists():
        return
    old = read_record(path, zoo)
    kept, difference = kept_cells(old, params, zoo)
    on_disk = {key_of(figures) for figures in read_cells(params, zoo)}
    lost = labels_of(old).keys() - kept.keys() - on_disk - set(planned)
    if lost:
        models, combinations = (len({key[part] for key in lost}) for part in (0, 1))
        raise InputError(
            f"{path}: {len(lost)} of its cells ({models} models, {combinations} combinations)"
            f" were measured or judged with {difference}; measure them again, or move the file away"
        )


def kept_cells(
    old: Record, params: Params, zoo: str = TORCHVISION
) -> tuple[dict[Key, Figures], str]:
    """Return the cells of a zoo's record that measuring and judging them now would give again, and
    what differs for the others, in words. A model that the zoo no longer lists keeps its cells."""
    changed = differences(old["constants"], record_constants(params, zoo))
    if changed:
        return {}, changed[0]
    limits, now = old["limits_of_a_process"], process_limits(params)
    changed = differences(limits, now)
    changed_models = set()
    for name, model in old["models"].items():
        own = own_settings(params, zoo, name)
        if own is not None and (found := differences(model.get("own", {}), own, name)):
            changed_models.add(name)
            changed += found
    cells = {
        (name, combination): cell
        for (name, combination), cell in cells_of(old).items()
        if name not in changed_models
        and (limits == now or not _met_a_limit(old["models"][name], cell))
    }
    return cells, next(iter(changed), "")


def _met_a_limit(model: Figures, cell: Figures) -> bool:
    """Whether another limit of time or memory may change a cell of a record."""
    failures = [{"kind": cell["verdict"], "message": cell["reason"]}, model.get("exact_failure")]
    return any(map(limits_may_cure, failures))


def record_constants(params: Params, zoo: str = TORCHVISION) -> Figures:
    """What every cell of a zoo's record is measured and judged with."""
    shared = measurement_conditions(params, zoo)
    del shared["machine"]
    judging = {"exactness", "rel", "rel_backstop"}
    limits = {task: limit.model_dump(include=judging) for task, limit in params.gate.limits}
    return shared | {"limits": limits | {"spread": params.gate.spread}}


def differences(old: object, new: object, name: str = "") -> list[str]:
    """Name the keys that differ between two nested dicts, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in {**old, **new}
            for line in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if old == new else [f"{name} {_value(old)} (now {_value(new)})"]


def _value(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def zoo_of(record: Record) -> str:
    """The zoo whose models a record has."""
    return record["constants"].get("zoo", {}).get("name", TORCHVISION)


def key_of(figures: Figures) -> Key:
    """The key of a cell on disk."""
    return figures["model"], combination_of(figures)


def cells_of(record: Record) -> dict[Key, Figures]:
    """All cells of a record."""
    return {
        (name, Combination.parse(combination)): cell
        for name, model in record["models"].items()
        for combination, cell in model["cells"].items()
    }


def label_of(cell: Figures) -> str:
    """A cell's verdict, of LABELS."""
    return cell["verdict"] + (" (fixed)" if cell["fixed"] else "")


def is_mended(cell: Figures) -> bool:
    """Whether a cell is right with a mended file."""
    return bool(cell.get("mended")) and cell["mended"]["verdict"] == "same"


def labels_of(record: Record) -> dict[Key, str]:
    return {key: label_of(cell) for key, cell in cells_of(record).items()}


def combinations_of(record: Record) -> list[Combination]:
    """The combinations of a record, those of the newest OpenCV first."""
    found = sorted({combination for _, combination in cells_of(record)})
    return sorted(found, key=lambda one: version_numbers(one.opencv), reverse=True)


def opencv_versions_of(record: Record) -> list[str]:
    """The versions of OpenCV in a record, newest first."""
    return list(dict.fromkeys(combination.opencv for combination in combinations_of(record)))


def verdicts_in(record: Record) -> dict[str, str]:
    """The entries of VERDICTS that a record has."""
    found = {cell["verdict"] for cell in cells_of(record).values()}
    return {name: words for name, words in VERDICTS.items() if name in found}
