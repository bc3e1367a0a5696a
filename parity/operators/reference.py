"""What a case's outputs should be, and how far rounding alone may take them from there.

ONNX's tests come with expected outputs; ONNX Runtime and the float64 evaluator compute them again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from parity.backends.float64 import run_float64
from parity.backends.isolated import BackendWorker
from parity.backends.onnxruntime import run_onnxruntime
from parity.core.cli import InputError
from parity.evaluation.exactness import UNIT_ROUNDOFF
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import output_names
from parity.graphs.tolerance import FACTOR, LARGEST, rounding
from parity.operators.case import Case, Value

TIME_LIMIT = 60.0  # seconds for a run in ONNX Runtime or in float64
AGREE = 1e-3  # the relative tolerance of ONNX's own tests
UNMEASURED = 1e-4  # the limit where float64 is not at hand, and so the rounding error is unknown


@dataclass(frozen=True)
class Output:
    """An output of a run: the answers that count as right, more than one where ONNX's expected
    output and ONNX Runtime disagree, and the limit of the relative error."""

    answers: tuple[np.ndarray, ...]
    limit: float


@dataclass(frozen=True)
class Reference:
    """What a case should give: of each run each output; or why there is nothing to compare with.

    `dispute` says where ONNX's expected output and ONNX Runtime disagree.
    """

    runs: list[list[Output]]
    missing: str | None = None
    dispute: str | None = None


def make_reference(case: Case, worker: BackendWorker) -> Reference:
    """Compute the reference of a case; ONNX Runtime and float64 run in the process of `worker`."""
    computed = _run_all(case, worker, run_onnxruntime)
    if case.expected is None and computed is None:
        return Reference([], "ONNX Runtime refuses it, and nothing else says what is expected")
    exact = _run_all(case, worker, run_float64)
    runs, disputes = [], []
    for place in range(len(case.inputs)):
        known = (case.expected, computed, exact)
        answers = zip(*(one[place] if one else _unknown(case) for one in known), strict=True)
        outputs = [make_output(*one) for one in answers]
        runs.append([output for output, _ in outputs])
        disputes += [text for _, text in outputs if text]
    return Reference(runs, dispute=disputes[0] if disputes else None)


def make_output(
    expected: np.ndarray | None, computed: np.ndarray | None, exact: np.ndarray | None
) -> tuple[Output, str | None]:
    """Combine ONNX's expected output, ONNX Runtime's and that of float64; at least one of the first
    two is known. Return what counts as right, and in words where the two disagree."""
    answers = tuple(one for one in (expected, computed) if one is not None)
    dispute = None
    if len(answers) == 2:
        difference = compare(computed, expected)
        if difference.rel > AGREE:
            dispute = _dispute_text(difference, expected, computed, exact)
        else:
            answers = (expected,)
    given = answers[0]
    unit = _unit(given.dtype)
    if unit is None:  # nothing is rounded
        return Output(answers, 0.0), dispute
    if exact is None or dispute or compare(exact, given).rel > AGREE:
        return Output(answers, max(UNMEASURED, FACTOR * unit)), dispute
    noises = [rounding(one, exact) for one in (expected, computed) if one is not None]
    noise = max([unit, *(one for one in noises if one is not None)])
    return Output((exact,), min(FACTOR * noise, LARGEST)), dispute


def _dispute_text(
    difference: Difference, expected: np.ndarray, computed: np.ndarray, exact: np.ndarray | None
) -> str:
    """In words how ONNX Runtime differs from ONNX's expected output, and whom float64 supports."""
    text = f"ONNX Runtime differs from ONNX's expected output: {difference.text()}"
    if exact is None:
        return text
    sides = {
        "ONNX's": compare(exact, expected).rel <= AGREE,
        "ONNX Runtime's": compare(exact, computed).rel <= AGREE,
    }
    right = [side for side, agrees in sides.items() if agrees]
    return f"{text}; float64 gives {right[0] if len(right) == 1 else 'neither'}"


def _unit(dtype: np.dtype) -> float | None:
    """The largest relative error of rounding a number to a type, at least float32's: no output is
    judged more strictly. None for integers."""
    try:
        return max(float(ml_dtypes.finfo(dtype).eps) / 2, UNIT_ROUNDOFF)
    except ValueError:
        return None


def _unknown(case: Case) -> list[None]:
    return [None] * len(case.model.graph.output)


def _run_all(case: Case, worker: BackendWorker, function: Callable) -> list[list[Value]] | None:
    """The outputs of each run, or None where the function fails on one of them."""
    names = output_names(case.model)
    try:
        runs = [worker.call(function, case.model, feeds, names) for feeds in case.inputs]
    except (InputError, OSError, RuntimeError):
        return None  # OpenCV is on trial here, not these two
    return [[run[name] for name in names] for run in runs]
