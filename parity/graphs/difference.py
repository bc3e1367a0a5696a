"""How far a tensor is from what it should be, where nothing may be hidden by broadcasting."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from parity.backends.contract import BackendFailure

FAILURES = ("refused", "error", "crashed", "timeout")


@dataclass(frozen=True)
class Difference:
    """Of a candidate's tensor from the reference's.

    `rel` is the largest absolute difference over the reference's largest absolute value, infinite
    where there is nothing to compare. `kind` is `values`, `shape`, `nonfinite` (NaN or infinity
    where the reference has none), or that of a BackendFailure; `message` says more.
    """

    rel: float
    kind: str = "values"
    message: str = ""
    candidate: np.ndarray | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no tensor at all."""
        return self.kind in FAILURES

    @property
    def finite_rel(self) -> float | None:
        return self.rel if isfinite(self.rel) else None

    def text(self) -> str:
        if self.failed:
            return f"{self.kind}: {self.message}"
        return self.message or f"rel {self.rel:.3g}"


def of_failure(failure: BackendFailure) -> Difference:
    """What a backend could not compute is infinitely far."""
    return Difference(inf, failure.kind, failure.message)


def compare(candidate: np.ndarray, reference: np.ndarray) -> Difference:
    """Compare two tensors; another shape is a difference of its own.

    Of a tensor with less than two axes the number of values alone counts: OpenCV's classic engine
    has no such tensors. Where the reference itself is NaN or infinite, the candidate must be too.
    """
    if reference.ndim < 2 and candidate.size == reference.size:
        candidate = candidate.reshape(reference.shape)
    if candidate.shape != reference.shape:
        message = f"shape {candidate.shape} in place of {reference.shape}"
        return Difference(inf, "shape", message, candidate)
    if not reference.size:
        return Difference(0.0, candidate=candidate)
    expected, found = reference.astype(np.float64), candidate.astype(np.float64)
    odd = ~(np.isfinite(expected) & np.isfinite(found))
    if not np.array_equal(expected[odd], found[odd], equal_nan=True):
        nans, infinities = int(np.isnan(found).sum()), int(np.isinf(found).sum())
        message = f"{nans} NaN, {infinities} infinite of {found.size} values"
        return Difference(inf, "nonfinite", message, candidate)
    if odd.all():
        return Difference(0.0, candidate=candidate)
    expected, found = expected[~odd], found[~odd]
    linf, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
    return Difference(linf / scale if scale else inf if linf else 0.0, candidate=candidate)


def worst(differences: Iterable[Difference]) -> Difference:
    """The largest of some differences, the first of several alike; of none it is 0."""
    return max(differences, key=lambda difference: difference.rel, default=Difference(0.0))


def statistics(tensor: np.ndarray | None) -> str:
    """Shape, range, mean and number of NaN, in one line."""
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
