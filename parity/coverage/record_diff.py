"""What got better and what got worse between two records of `make coverage`."""

from collections import defaultdict
from collections.abc import Mapping

from parity.core.cli import InputError
from parity.coverage.cells import Combination
from parity.coverage.record import (
    LABELS,
    Record,
    combinations_of,
    differences,
    labels_of,
    opencv_versions_of,
)

Labels = Mapping[tuple[str, str], str]  # by model and name of the combination
OPENCV = "OpenCV"


def compare(old: Record, new: Record) -> tuple[list[str], bool]:
    """Return lines on what got better and worse, after what else differs, and whether anything got
    worse. Raises InputError where the records share no cell.

    Where each record has one version of OpenCV, its name is left out, so that an upgrade can be
    compared; so is the opset of an exporter that has one in each record.
    """
    constant = constant_parts(old) & constant_parts(new)
    before, after = (
        {
            (model, short_name(combination, constant)): label
            for (model, combination), label in labels_of(record).items()
        }
        for record in (old, new)
    )
    if not before.keys() & after.keys():
        raise InputError("the two records have no model and combination in common")
    lines = []
    versions = [", ".join(sorted(opencv_versions_of(record))) for record in (old, new)]
    if versions[0] != versions[1]:
        lines.append(f"OpenCV {versions[0]} -> {versions[1]}")
    for difference in differences(old["constants"], new["constants"]):
        lines.append(f"measured differently: {difference}")
    changed, worse = changes(before, after)
    return lines + (changed or ["no verdict changed"]), worse


def constant_parts(record: Record) -> set[str]:
    """The exporters that have one opset in the whole record, and `OpenCV` where it has one
    version."""
    opsets = defaultdict(set)
    for combination in combinations_of(record):
        opsets[combination.exporter].add(combination.opset)
    constant = {exporter for exporter, found in opsets.items() if len(found) == 1}
    return constant | {OPENCV} if len(opencv_versions_of(record)) == 1 else constant


def short_name(combination: Combination, constant: set[str]) -> str:
    """A combination's name without the opset and version that are `constant`."""
    exporter, opset, engine, opencv = combination
    left = exporter if exporter in constant else f"{exporter} {opset}"
    return f"{left}, {engine if OPENCV in constant else f'{engine} {opencv}'}"


def changes(old: Labels, new: Labels) -> tuple[list[str], bool]:
    """Return lines on what got better and worse, and whether anything got worse.

    Labels rank as in LABELS: a silently wrong output is worse than a crash.
    """
    better, worse = [], []
    for key in sorted(old.keys() & new.keys()):
        if old[key] != new[key]:
            lines = worse if LABELS.index(new[key]) > LABELS.index(old[key]) else better
            lines.append(f"  {key[0]}, {key[1]}: {old[key]} -> {new[key]}")
    lines = []
    for name, changed in (("worse", worse), ("better", better)):
        lines += [f"{name}: {len(changed)}", *changed] if changed else []
    for name, keys in (("only in the first", old.keys() - new), ("new", new.keys() - old)):
        if keys:
            models = {model for model, _ in keys}
            lines.append(f"{name}: {len(keys)} cells of {len(models)} models")
    return lines, bool(worse)
