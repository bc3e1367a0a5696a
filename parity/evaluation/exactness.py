"""How far a backend's logits are from the exact ones: those of the same network in float64."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from parity.evaluation.results import ExactDistance

UNIT_ROUNDOFF = 2.0**-24  # of float32


@dataclass
class ExactSums:
    """The distance of a backend's logits from the exact ones, accumulated image by image.

    `rel` is the largest absolute difference over the largest absolute exact logit. `rms` is the
    root mean square of the differences over that of the exact logits. NaN or infinity in the logits
    makes both NaN, and so do exact logits that are 0 everywhere.
    """

    linf: float = 0.0
    largest: float = 0.0
    squares: float = 0.0
    exact_squares: float = 0.0

    def update(self, logits: np.ndarray, exact: np.ndarray) -> None:
        """Add logits of the same shape; raises ValueError where the shapes differ."""
        if logits.shape != exact.shape:
            raise ValueError(f"shapes differ: {logits.shape} and {exact.shape}")
        with np.errstate(invalid="ignore", over="ignore"):  # infinite values
            difference = np.abs(logits.astype(np.float64) - exact)
            self.squares += float(np.square(difference).sum())
        self.exact_squares += float(np.square(exact).sum())
        self.linf = float(np.maximum(self.linf, difference.max()))  # unlike max, keeps a NaN
        self.largest = float(np.maximum(self.largest, np.abs(exact).max()))

    def distance(self) -> ExactDistance:
        if not (math.isfinite(self.linf) and 0 < self.largest < math.inf):
            return ExactDistance(rel=math.nan, rms=math.nan)
        rms = math.sqrt(self.squares / self.exact_squares)
        return ExactDistance(rel=self.linf / self.largest, rms=rms)


def exactness_ratios(distances: Mapping[str, ExactDistance], reference: str) -> dict[str, float]:
    """Return the ratio of each other backend's distance from the exact logits to the reference's,
    by `rms`: 1 means as exact as the reference.

    The reference's distance counts as at least float32's unit roundoff, 2^-24, the largest relative
    error of rounding a number once (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd
    ed., section 2.1). Otherwise a reference that is closer by luck would make the ratio huge.
    """
    own = distances[reference].rms
    floored = own if math.isnan(own) else max(own, UNIT_ROUNDOFF)
    return {
        backend: distance.rms / floored
        for backend, distance in distances.items()
        if backend != reference
    }
