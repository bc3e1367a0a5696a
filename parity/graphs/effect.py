"""Tell how much of an output's error a wrong tensor explains."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.difference import Difference, compare
from parity.graphs.extraction import cut
from parity.graphs.graph import input_names

# Of the output's error, that a tensor must cause to explain it: it may be one of several causes.
SHARE = 0.25


@dataclass
class Effect:
    """What wrong tensors do to an `output` that differs by `rel`; `values` are the model's tensors
    by ONNX Runtime."""

    model: ModelProto
    values: Mapping[str, np.ndarray]
    output: str
    rel: float

    def explains(self, name: str, difference: Difference) -> bool:
        """Whether a tensor with this difference, in a graph that is right otherwise, makes a share
        of the output's error.

        A node may round far more than another engine's, as Winograd's convolutions do, and matter
        little. Where that cannot be measured, it counts as explained.
        """
        value = difference.candidate
        if difference.kind != "values" or value is None or not self.rel < inf:
            return True
        return not self._rel(name, value) < SHARE * self.rel

    def _rel(self, name: str, value: np.ndarray) -> float:
        expected = self.values[self.output]
        if name == self.output:
            return compare(value, expected).rel
        feeds = {one: self.values[one] for one in input_names(self.model)} | {name: value}
        try:
            part = cut(self.model, {name: value}, [self.output], for_onnxruntime=True)
            feeds = {one: feeds[one] for one in input_names(part)}
            return compare(run_onnxruntime(part, feeds, [self.output])[self.output], expected).rel
        except (BackendFailure, ValueError):
            return inf
