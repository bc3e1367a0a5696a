"""The record of `make operators`, metrics/operators.json: the verdict on each case.

    {"method": 1, "onnx": …, "onnxruntime": …, "columns": ["new 5.0.0.93", …],
     "operators": {operator: {column: {verdict: cases, …}, …}},
     "details": [text, …],
     "findings": [{"case": …, "operator": …, "form": …, "cause": …,
                   "verdicts": {column: [verdict, number of the detail, rel], …}}, …],
     "disputes": {case: text}}

Cases that are right are only counted, which keeps the file small; `findings` lists the others. This
module needs nothing but Python, so that a light install can read the record.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from parity.core.cli import InputError
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


@dataclass(frozen=True)
class OperatorRecord:
    """What was measured: counts of all verdicts, and each verdict that is not right.

    `counts` has the number of cases by operator, column and verdict; a case counts once per form.
    `disputes` says of a case where ONNX's expected output and ONNX Runtime's disagree.
    """

    onnx: str
    onnxruntime: str
    columns: tuple[Column, ...]  # those of the newest OpenCV first
    counts: Mapping[str, Mapping[Column, Counter]]
    findings: tuple[Finding, ...]
    disputes: Mapping[str, str]

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
    details = content["details"]
    findings = (
        Finding(
            case=entry["case"],
            operator=entry["operator"],
            form=entry["form"],
            opencv=(column := Column.parse(name)).opencv,
            engine=column.engine,
            verdict=verdict,
            detail=details[detail],
            rel=rel,
            cause=entry.get("cause"),
        )
        for entry in content["findings"]
        for name, (verdict, detail, rel) in entry["verdicts"].items()
    )
    return OperatorRecord(
        onnx=content["onnx"],
        onnxruntime=content["onnxruntime"],
        columns=tuple(map(Column.parse, content["columns"])),
        counts={
            operator: {Column.parse(name): Counter(counts) for name, counts in columns.items()}
            for operator, columns in content["operators"].items()
        },
        findings=tuple(findings),
        disputes=content["disputes"],
    )
