"""The blobs that a file is checked on, and what ONNX Runtime computes for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime_in_turn
from parity.core.cli import InputError
from parity.faults.settings import FILE_LIMITS
from parity.graphs.graph import input_names
from parity.graphs.tolerance import rounding
from parity.mending.judge import Case, make_case, other_blobs

# Beside the first blob, where the file leaves them open: images, as multiples of that blob's, and
# shares of its height and width. The second of these is no square unless the first blob's was not.
BATCHES = (2, 3)
SHRINKS = ((3 / 4, 3 / 4), (1, 1 / 2))


@dataclass(frozen=True)
class Cases:
    """The blobs, the given one first, with ONNX Runtime's outputs, and the shapes that the file's
    open axes promise and ONNX Runtime refuses, each with the reason.

    Rounding is measured on the first blob only, which takes the most time of all. Its limits stand
    for the other blobs until one exceeds them: see `measured`.
    """

    model: ModelProto
    cases: Sequence[Case]
    refused: Sequence[tuple[tuple[int, ...], str]]

    def noise(self, case: Case, output: str) -> float | None:
        """Return the error that rounding explains at an output, as measured for a case or else for
        the first; None where it is not known."""
        measured = case if case.exact else self.cases[0]
        if not measured.exact:
            return None
        return rounding(measured.expected[output], measured.exact[output])

    def measured(self, number: int) -> Case:
        """Return a case with limits of its own."""
        case = self.cases[number]
        return case if number == 0 else make_case(self.model, case.blob, FILE_LIMITS.rel)


def make_cases(path: Path, model: ModelProto, blob: np.ndarray, source: str) -> Cases:
    """Return the cases of a file for a blob, float32, described by `source`.

    Raises BackendFailure `refused` where ONNX Runtime cannot read the file, and InputError where it
    does not run the blob, or computes nothing finite for it, which no engine can be judged by.
    """
    try:
        first = make_case(model, blob, FILE_LIMITS.rel)
    except BackendFailure as failure:
        if failure.kind == "refused":
            raise
        found = f"{source}, shape {blob.shape}: {failure}"
        expected = "expected --input with a blob that it takes"
        raise InputError(f"{path}: {found}; {expected}") from None
    if not any(np.isfinite(first.expected[name]).any() for name in first.limits):
        found = f"{source}: ONNX Runtime's outputs hold no finite number"
        raise InputError(f"{path}: {found}; expected --input with another blob")
    others = other_blobs(model, [blob], BATCHES, SHRINKS)
    feeds = [{input_names(model)[0]: one} for one in others]
    cases, refused = [first], []
    outputs = run_onnxruntime_in_turn(model, feeds, [*first.expected]) if feeds else []
    for other, expected in zip(others, outputs, strict=True):
        if isinstance(expected, BackendFailure):
            refused.append((other.shape, str(expected)))
        else:
            cases.append(Case(other, expected, None, first.limits))
    return Cases(model, cases, refused)
