"""Build the record of `make operators` from the cells on disk."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from parity.core.cli import InputError
from parity.operators.case import Case
from parity.operators.cells import Cells, digest, key_of, read_cells
from parity.operators.record import (
    RECORD,
    Cause,
    Column,
    Dispute,
    Finding,
    OperatorRecord,
    newest_first,
    read_record,
)
from parity.operators.verdicts import VERDICTS


def build_record(
    cases: Sequence[Case],
    columns: Iterable[Column],
    conditions: Mapping,
    causes: Mapping[str, str],
) -> OperatorRecord:
    """Return the record of cases in columns whose cells are all on disk. `causes` says in words
    what OpenCV does wrong, by the `cause` of a case."""
    columns = newest_first(columns)
    counts: dict[str, dict[Column, Counter]] = {}
    findings, disputes = [], []
    for operator, own in by_operator(cases).items():
        cells = {column: read_cells(column, operator, conditions) for column in columns}
        for case in own:
            found = {column: cells[column][key_of(case)] for column in columns}
            for column, cell in found.items():
                counts.setdefault(operator, {}).setdefault(column, Counter())[cell["verdict"]] += 1
                if cell["verdict"] != "right":
                    findings.append(_finding(case, column, cell))
            cell = found[columns[0]]
            if cell["dispute"]:
                sides = {column: one["side"] for column, one in found.items() if one["side"]}
                disputes.append(Dispute(case.name, case.form, cell["dispute"], sides))
    for by_column in counts.values():
        for column, count in by_column.items():
            by_column[column] = Counter({name: count[name] for name in VERDICTS if count[name]})
    probes = Counter(case.cause for case in cases if case.cause)
    return OperatorRecord(
        conditions=record_conditions(cases, conditions),
        columns=columns,
        counts=counts,
        findings=tuple(findings),
        causes={key: Cause(causes.get(key, ""), probes[key]) for key in sorted(probes)},
        disputes=tuple(disputes),
    )


def _finding(case: Case, column: Column, cell: Mapping) -> Finding:
    return Finding(
        case.name,
        case.operator,
        case.form,
        column.opencv,
        column.engine,
        cell["verdict"],
        cell["detail"],
        cell["rel"],
        case.cause,
    )


def by_operator(cases: Iterable[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.operator, []).append(case)
    return found


def record_conditions(cases: Sequence[Case], conditions: Mapping) -> dict:
    """What every verdict of a record depends on, the processor aside: a processor may round
    otherwise, but no verdict is about that."""
    checksum = hashlib.sha256("".join(map(digest, cases)).encode()).hexdigest()[:16]
    forms = Counter(case.form for case in cases)
    shared = {key: value for key, value in conditions.items() if key not in ("machine", "versions")}
    known = {"cases": len(cases), "forms": dict(sorted(forms.items())), "checksum": checksum}
    return shared | conditions["versions"] | known


def is_measured(column: Column, cases: Sequence[Case], conditions: Mapping) -> bool:
    """Whether all cases of a column are on disk."""
    return not any(missing_by_operator(column, cases, conditions).values())


def missing_by_operator(
    column: Column, cases: Sequence[Case], conditions: Mapping
) -> dict[str, list[Case]]:
    """Return the cases of each operator whose cells are not on disk."""
    return {
        operator: [case for case in own if not is_current(case, cells)]
        for operator, own in by_operator(cases).items()
        for cells in [read_cells(column, operator, conditions)]
    }


def is_current(case: Case, cells: Cells) -> bool:
    """Whether a case was measured as it is."""
    cell = cells.get(key_of(case))
    return cell is not None and cell["digest"] == digest(case)


def full_record(
    cases: Sequence[Case],
    tried: Iterable[Column],
    conditions: Mapping,
    causes: Mapping[str, str],
) -> OperatorRecord:
    """Return what metrics/operators.json holds after a full run: the columns tried now and those of
    the old record, from the disk, or as they are where the same cases were measured alike.

    Raises InputError where columns of the old record would be lost.
    """
    if not RECORD.exists():
        return build_record(cases, tried, conditions, causes)
    old, only_old = read_record(RECORD), check_nothing_is_lost(cases, tried, conditions)
    on_disk = {*tried, *old.columns} - only_old
    return merged(build_record(cases, on_disk, conditions, causes), old, only_old)


def check_nothing_is_lost(
    cases: Sequence[Case], tried: Iterable[Column], conditions: Mapping
) -> set[Column]:
    """Return the columns that only the old record has: not tried now and not on disk.

    Raises InputError where they were measured under other conditions, so that the next full record
    would lose them.
    """
    if not RECORD.exists():
        return set()
    old, now = read_record(RECORD), record_conditions(cases, conditions)
    untried = [column for column in old.columns if column not in tried]
    lost = {column for column in untried if not is_measured(column, cases, conditions)}
    if lost and old.conditions != now:
        keys = {**now, **old.conditions}
        key = next(key for key in keys if old.conditions.get(key) != now.get(key))
        versions = " ".join(dict.fromkeys(column.opencv for column in newest_first(lost)))
        raise InputError(
            f"{RECORD}: its columns of OpenCV {versions} were measured with {key}"
            f" {old.conditions.get(key)} (now {now.get(key)}); measure them again, with these"
            " versions in OPENCV, or move the file away"
        )
    return lost


def merged(new: OperatorRecord, old: OperatorRecord, added: Collection[Column]) -> OperatorRecord:
    """Add to a record columns that only an older one of the same cases has."""
    if not added:
        return new
    columns = newest_first([*new.columns, *added])
    order = {operator: place for place, operator in enumerate(new.counts)}
    findings = [*new.findings, *(one for one in old.findings if one.column in added)]
    sides = {
        (one.case, one.form): {column: one.sides[column] for column in added if column in one.sides}
        for one in old.disputes
    }
    return OperatorRecord(
        conditions=new.conditions,
        columns=columns,
        counts={
            operator: {
                column: (counts if column in counts else old.counts[operator])[column]
                for column in columns
            }
            for operator, counts in new.counts.items()
        },
        findings=tuple(
            sorted(
                findings,
                key=lambda one: (
                    order[one.operator],
                    one.case,
                    one.form,
                    columns.index(one.column),
                ),
            )
        ),
        causes=new.causes,
        disputes=tuple(
            Dispute(
                one.case, one.form, one.text, {**one.sides, **sides.get((one.case, one.form), {})}
            )
            for one in new.disputes
        ),
    )
