"""The record of `make operators`, metrics/operators.json: the verdict on each case.

    {"conditions": {"method": 1, "onnx": …, "onnxruntime": …, "cases": checksum, …},
     "columns": ["new 5.0.0.93", …],
     "counts": {operator: {column: {verdict: number}}},
     "causes": {cause: {"text": …, "cases": number}},
     "details": [[verdict, text], …],
     "findings": [[case, operator, cause, {form: [cell of each column]}], …],
     "disputes": [{"case": …, "form": …, "text": …, "sides": {column: side}}, …]}

A cell is null where the case is right, or else the number of its detail, or that with its rel.
Cases that are right everywhere are only counted, which keeps the file small. This module needs
nothing but Python, so that a light install can read the record.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from parity.core.cli import InputError
from parity.core.versions import version_numbers
from parity.operators.verdicts import WRONG

RECORD = Path("metrics/operators.json")
METHOD = 1  # another number when a verdict comes to mean something else


class Column(NamedTuple):
    """An engine of a version of OpenCV."""

    engine: str
    opencv: str  # the version of the package, as 5.0.0.93

    def __str__(self) -> str:
        return f"{self.engine} {self.opencv}"

    @classmethod
    def parse(cls, text: str) -> "Column":
        """The inverse of `str`. Raises ValueError for any other text."""
        return cls(*text.split(" "))


@dataclass(frozen=True)
class Finding:
    """A verdict other than right: of a case in a form, in an engine of a version of OpenCV.

    `rel` is the largest difference over the largest expected value, None where there are no values
    to compare.
    """

    case: str
    operator: str
    form: str
    opencv: str
    engine: str
    verdict: str
    detail: str
    rel: float | None = None
    cause: str | None = None

    @property
    def column(self) -> Column:
        return Column(self.engine, self.opencv)

    @property
    def test(self) -> tuple[str, str]:
        """The case and its form."""
        return self.case, self.form

    @property
    def is_explained(self) -> bool:
        """Whether the cause that the case probes explains the verdict; it explains no refusal."""
        return self.cause is not None and self.verdict in WRONG and self.verdict != "refused"


@dataclass(frozen=True)
class Cause:
    """A cause of faults that generated cases probe: what OpenCV does, and how many cases there
    are."""

    text: str
    cases: int


@dataclass(frozen=True)
class Dispute:
    """A case where ONNX's expected output and ONNX Runtime's disagree: how, and which of them
    OpenCV agrees with in each column, if with any."""

    case: str
    form: str
    text: str
    sides: Mapping[Column, str]


@dataclass(frozen=True)
class OperatorRecord:
    """What was measured: counts of all verdicts, and each verdict that is not right.

    `conditions` is what all verdicts depend on beside the engine. `counts` has the number of cases
    by operator, column and verdict; each form of a case counts.
    """

    conditions: Mapping
    columns: tuple[Column, ...]  # those of the newest OpenCV first
    counts: Mapping[str, Mapping[Column, Counter]]
    findings: tuple[Finding, ...]
    causes: Mapping[str, Cause] = field(default_factory=dict)
    disputes: tuple[Dispute, ...] = ()

    @property
    def versions(self) -> list[str]:
        """The versions of OpenCV, newest first."""
        return list(dict.fromkeys(column.opencv for column in self.columns))

    def wrong(self, operator: str, opencv: str, engine: str) -> list[Finding]:
        """Return what is wrong with an operator: every verdict but right and not applicable."""
        return [
            finding
            for finding in self.findings
            if (finding.operator, finding.opencv, finding.engine) == (operator, opencv, engine)
            and finding.verdict in WRONG
        ]


def read_record(path: Path = RECORD) -> OperatorRecord:
    """Read the record. Raises InputError where there is none, or where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror.lower()}; `make operators` writes it") from None
    except ValueError as error:
        raise InputError(f"{path}: not a record of `make operators`: {error}") from None
    try:
        return parse_record(content)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a record of `make operators`: {reason}") from None


def parse_record(content: dict) -> OperatorRecord:
    """The inverse of `record_content`."""
    details, columns = content["details"], tuple(map(Column.parse, content["columns"]))

    def finding(
        case: str, operator: str, form: str, column: Column, cell: int | list, cause: str | None
    ) -> Finding:
        number, rel = cell if isinstance(cell, list) else (cell, None)
        verdict, text = details[number]
        engine, opencv = column
        return Finding(case, operator, form, opencv, engine, verdict, text, rel, cause)

    findings = (
        finding(case, operator, form, column, cell, cause)
        for case, operator, cause, forms in content["findings"]
        for form, cells in forms.items()
        for column, cell in zip(columns, cells, strict=True)
        if cell is not None
    )
    return OperatorRecord(
        conditions=dict(content["conditions"]),
        columns=columns,
        counts={
            operator: {Column.parse(name): Counter(counts) for name, counts in columns.items()}
            for operator, columns in content["counts"].items()
        },
        findings=tuple(findings),
        causes={key: Cause(**cause) for key, cause in content["causes"].items()},
        disputes=tuple(
            Dispute(
                one["case"],
                one["form"],
                one["text"],
                {Column.parse(name): side for name, side in one["sides"].items()},
            )
            for one in content["disputes"]
        ),
    )


def record_content(record: OperatorRecord) -> dict:
    """Return a record as its file holds it; see the docstring of this module."""
    details = sorted({(finding.verdict, finding.detail) for finding in record.findings})
    number = {detail: place for place, detail in enumerate(details)}
    place = {column: place for place, column in enumerate(record.columns)}
    findings: dict[tuple, dict[str, list]] = {}
    for one in record.findings:
        forms = findings.setdefault((one.case, one.operator, one.cause), {})
        cells = forms.setdefault(one.form, [None] * len(place))
        detail = number[one.verdict, one.detail]
        rounded = one.rel is not None and float(f"{one.rel:.2g}")
        cells[place[one.column]] = detail if one.rel is None else [detail, rounded]
    return {
        "conditions": dict(record.conditions),
        "columns": list(map(str, record.columns)),
        "counts": {
            operator: {str(column): dict(counts) for column, counts in columns.items()}
            for operator, columns in record.counts.items()
        },
        "causes": {key: asdict(cause) for key, cause in record.causes.items()},
        "details": details,
        "findings": [[*key, forms] for key, forms in findings.items()],
        "disputes": [
            {
                "case": one.case,
                "form": one.form,
                "text": one.text,
                "sides": {str(column): side for column, side in one.sides.items()},
            }
            for one in record.disputes
        ],
    }


def record_text(record: OperatorRecord) -> str:
    """Return the file of a record: JSON with a line per operator, detail, finding and dispute, so
    that Git shows what changed."""
    parts = []
    for key, value in record_content(record).items():
        items = value.items() if isinstance(value, dict) else value
        lines = [_line(*item) if isinstance(value, dict) else _dumped(item) for item in items]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        body = ",\n".join(lines)
        parts.append(f'"{key}": {opening}\n{body}\n{closing}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(key: str, value: object) -> str:
    return f"{_dumped(key)}: {_dumped(value)}"


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def newest_first(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Sort columns: the newest OpenCV first, of one OpenCV the new engine first."""
    by_engine = sorted(set(columns), key=lambda one: one.engine, reverse=True)
    return tuple(sorted(by_engine, key=lambda one: version_numbers(one.opencv), reverse=True))
