"""Cases, records and runs of `make operators`, small and made by hand."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from helpers.faulty import parse
from parity.core.params import load_params
from parity.coverage.opencv_versions import installed_version
from parity.operators.case import Case
from parity.operators.record import Column, Finding, OperatorRecord
from parity.operators.run import run_operators

OPENCV = installed_version()
NEW, CLASSIC = Column("new", "5.0.0.93"), Column("classic", "5.0.0.93")
OLD = Column("classic", "4.14.0.94")
X = np.array([[1, -2, 3]], np.float32)


def case(
    body: str = "y = Relu(x)",
    operator: str = "Relu",
    name: str = "own/relu",
    expected: np.ndarray | None = None,
    feeds: dict[str, np.ndarray] | None = None,
    cause: str | None = None,
    **options,
) -> Case:
    """A case of the nodes in `body`, in the syntax of onnx.parser; X is fed as `x`."""
    model = parse(body, **({"inputs": "float[1, 3] x", "outputs": "float[1, 3] y"} | options))
    outputs = None if expected is None else [[expected]]
    return Case(name, operator, model, [feeds or {"x": X}], outputs, cause=cause)


def run(cases: Sequence[Case], operators: str = "", processes: int = 1) -> None:
    """`make operators` on these cases, with the installed OpenCV."""
    run_operators(cases, operators, [OPENCV], processes, load_params(), {})


def finding(
    column: Column = NEW, verdict: str = "different", case: str = "own/a", **fields
) -> Finding:
    """A finding about the operator Add."""
    fields = {"operator": "Add", "form": "as is", "detail": "", **fields}
    return Finding(case=case, verdict=verdict, opencv=column.opencv, engine=column.engine, **fields)


def made_record(*findings: Finding, columns: Sequence[Column] = (NEW, CLASSIC, OLD), **fields):
    """A record in which each operator is right twice in each column, beside the findings."""
    counts = {}
    for name in {"Add", *(one.operator for one in findings)}:
        counts[name] = {column: Counter(right=2) for column in columns}
    for one in findings:
        counts[one.operator][one.column][one.verdict] += 1
    conditions = {"method": 1, "onnx": "1", "onnxruntime": "2", "numpy": "3", "cases": 4}
    conditions["forms"] = {"as is": 3, "constants": 2}
    return OperatorRecord(conditions, tuple(columns), counts, findings, **fields)
