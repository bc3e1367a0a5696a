"""How far a tensor may be from the expected one: as far as rounding explains, or a fixed limit."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.float64 import run_float64
from parity.evaluation.exactness import UNIT_ROUNDOFF
from parity.graphs.difference import compare
from parity.graphs.forcing import forced
from parity.graphs.graph import float_tensors, input_names

# Of ONNX Runtime's own error. The logits of the healthy networks in
# docs/locate.md stay below 6.
FACTOR = 20.0
# Rounding errors and limits end here. Where ONNX Runtime and float64 differ by more, one of the two
# is wrong, or the graph is chaotic.
LARGEST = 1e-2


@dataclass(frozen=True)
class Tolerance:
    """The limit of the relative error at each tensor: `factor` times what rounding explains there.

    `noise` maps tensors to ONNX Runtime's own relative error against float64; None where a fixed
    limit judges all tensors, and without an entry where that error is no rounding. There the limit
    is `fixed`.
    """

    fixed: float
    noise: Mapping[str, float] | None = None
    factor: float = FACTOR

    def noise_at(self, name: str) -> float | None:
        return None if self.noise is None else self.noise.get(name)

    def at(self, name: str) -> float:
        """Return the limit at a tensor that is computed from the graph's inputs."""
        return self.limit(self.noise_at(name))

    @property
    def least(self) -> float:
        """The smallest limit: what is within it needs no measured noise."""
        return self.fixed if self.noise is None else min(self.fixed, self.factor * UNIT_ROUNDOFF)

    def limit(self, noise: float | None) -> float:
        """Return the limit where rounding alone gives an error of `noise`."""
        return self.fixed if noise is None else min(self.factor * noise, LARGEST)

    def part_noise(
        self, part: ModelProto, feeds: Mapping[str, np.ndarray], name: str, value: np.ndarray
    ) -> float | None:
        """Return the noise at a tensor of a part of the graph, which ONNX Runtime computes as
        `value` from `feeds`; None where it is unknown or the limit is fixed."""
        if self.noise is None:
            return None
        try:
            return rounding(value, run_float64(part, feeds, [name])[name])
        except BackendFailure:
            return None


def rounding(computed: np.ndarray, exact: np.ndarray) -> float | None:
    """Return the relative error of a float32 tensor, at least UNIT_ROUNDOFF; None where it is too
    large for rounding, or infinite."""
    rel = compare(computed, exact).rel
    return max(rel, UNIT_ROUNDOFF) if isfinite(rel) and rel <= LARGEST else None


def measured_tolerance(
    model: ModelProto, values: Mapping[str, np.ndarray], fixed: float
) -> Tolerance:
    """Measure the noise of all float32 tensors; `values` are the model's tensors by ONNX Runtime.

    Raises BackendFailure where float64 is not at hand.
    """
    feeds = {name: values[name] for name in input_names(model)}
    names = list(float_tensors(model, values))
    return Tolerance(fixed, _noise(values, run_float64(model, feeds, names)))


def own_noise(
    model: ModelProto, values: Mapping[str, np.ndarray], names: Collection[str]
) -> dict[str, float]:
    """Return the noise that arises between the tensors `names`: at each of them, computed from the
    values of the others. Raises BackendFailure where float64 is not at hand."""
    part, outputs = forced(model, {name: values[name] for name in names}, names)
    feeds = {name: values[name] for name in input_names(part)}
    exact = run_float64(part, feeds, list(outputs.values()))
    return _noise(values, {name: exact[own] for name, own in outputs.items()})


def _noise(values: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> dict[str, float]:
    found = {name: rounding(values[name], value) for name, value in exact.items()}
    return {name: noise for name, noise in found.items() if noise is not None}
