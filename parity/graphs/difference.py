"""Measure how far a tensor is from the expected one, without hiding anything by broadcasting."""

import re
from dataclasses import dataclass
from math import inf, isfinite, isnan

import numpy as np

from parity.backends.contract import BackendFailure
from parity.evaluation.scores import relative_difference, same_bits

FAILURES = ("refused", "error", "crashed", "timeout")


@dataclass(frozen=True)
class Difference:
    """How far a candidate's tensor is from the reference's.

    `rel` is the largest absolute difference divided by the reference's largest absolute value,
    infinite where nothing can be compared. `kind` is `values`, `shape`, `nonfinite` (NaN or
    infinity where the reference has none) or the kind of a BackendFailure; `message` gives details.
    """

    rel: float
    kind: str = "values"
    message: str = ""
    candidate: np.ndarray | None = None

    @classmethod
    def from_failure(cls, failure: BackendFailure) -> "Difference":
        """The difference of a tensor that a backend could not compute: infinite."""
        return cls(inf, failure.kind, failure.message)

    @property
    def failed(self) -> bool:
        """Whether the backend computed no tensor at all."""
        return self.kind in FAILURES

    @property
    def failure_site(self) -> str:
        """What identifies a failure whatever the graph's size: the operator, the places in OpenCV's
        source and the signal that its message names; empty where there is a tensor."""
        if not self.failed:
            return ""
        return " ".join(re.findall(r"SIG[A-Z]+|\w+\.[ch]pp:\d+|\[\w+(?=@)", self.message))

    @property
    def finite_rel(self) -> float | None:
        return self.rel if isfinite(self.rel) else None

    def text(self) -> str:
        if self.failed:
            return f"{self.kind}: {self.message}"
        return self.message or f"rel {self.rel:.3g}"

    def is_same(self, other: "Difference") -> bool:
        """Whether two runs ended alike: with the same bits, or with the same failure."""
        if self.candidate is None or other.candidate is None:
            return (self.kind, self.failure_site) == (other.kind, other.failure_site)
        return same_bits(self.candidate, other.candidate)


def compare(candidate: np.ndarray, reference: np.ndarray) -> Difference:
    """Compare two tensors; another shape is a difference of its own.

    For a tensor of fewer than two axes only the number of values counts, because OpenCV's classic
    engine has no such tensors. Where the reference is NaN or infinite, the candidate must be too.
    """
    if reference.ndim < 2 and candidate.size == reference.size:
        candidate = candidate.reshape(reference.shape)
    if candidate.shape != reference.shape:
        message = f"shape {candidate.shape} in place of {reference.shape}"
        return Difference(inf, "shape", message, candidate)
    expected, found = reference.astype(np.float64), candidate.astype(np.float64)
    finite = np.isfinite(expected) & np.isfinite(found)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        nans, infinities = int(np.isnan(found).sum()), int(np.isinf(found).sum())
        message = f"{nans} NaN, {infinities} infinite of {found.size} values"
        return Difference(inf, "nonfinite", message, candidate)
    expected, found = expected[finite], found[finite]
    rel = relative_difference(found, expected)
    if isnan(rel):  # the reference is 0 throughout, or nothing is left to compare
        rel = inf if found.any() else 0.0
    return Difference(rel, candidate=candidate)


def statistics_text(tensor: np.ndarray | None) -> str:
    """Summarize a tensor in one line: shape, range, mean and number of NaN."""
    if tensor is None:
        return "none"
    if not tensor.size:
        return f"shape {tensor.shape}, empty"
    nans = int(np.isnan(tensor).sum())
    if nans == tensor.size:
        return f"shape {tensor.shape}, all NaN"
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.nanmin(tensor), np.nanmax(tensor)
        mean = np.nanmean(tensor, dtype=np.float64)
    return f"shape {tensor.shape}, min {low:.6g}, max {high:.6g}, mean {mean:.6g}, {nans} NaN"
