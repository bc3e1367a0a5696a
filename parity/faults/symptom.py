"""What OpenCV does wrong with an ONNX file, told so that a smaller file can be held against it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import VALUES, dirty_heap
from parity.backends.onnxruntime import run_onnxruntime
from parity.evaluation.scores import same_bits
from parity.faults.subgraphs import Engine
from parity.graphs.difference import Difference, compare, of_failure
from parity.graphs.graph import output_names

Feeds = Mapping[str, np.ndarray]

PLAIN = ""  # a heap that nobody dirtied
HEAPS = (PLAIN, *map(str, VALUES))
# A few roundings of float32. Where inputs that differ by that much change the outputs by a large
# part of the limit, rounding could make the difference.
ROUNDING = 1e-6
# While a graph gets smaller the difference may, but not down to where rounding begins.
KEPT_SHARE, ENOUGH = 0.1, 1e-2


@dataclass(frozen=True)
class Symptom:
    """`kind` is a Difference's; `reason` tells two failures of a kind apart. `heap` is the value of
    MALLOC_PERTURB_ that it takes where the answer depends on what memory held before."""

    kind: str
    message: str
    rel: float = inf
    reason: str = ""
    heap: str = PLAIN

    @property
    def words(self) -> str:
        return f"unstable, {self.message}" if self.heap else self.message

    def is_like(self, difference: Difference) -> bool:
        own = (family(self.kind), self.reason)
        return own == (family(difference.kind), reason_of(difference))


@dataclass
class Opencv:
    """One engine of OpenCV's, in a process of its own for each heap; use it in a `with`.

    With `fresh` each run has a new process: slower, but memory holds nothing of the run before.
    Another `attempt` has other memory around the tensors.
    """

    engine: int | None
    threads: int
    limit_s: float
    fresh: bool = False
    attempt: int = 0
    runs: int = 0
    _engines: dict[str, Engine] = field(default_factory=dict)

    def __enter__(self) -> "Opencv":
        return self

    def __exit__(self, *_: object) -> None:
        for heap in list(self._engines):
            self._stop(heap)

    def _stop(self, heap: str) -> None:
        self._engines.pop(heap).__exit__()

    def observe(
        self, model: ModelProto, feeds: Feeds, expected: np.ndarray, heap: str = PLAIN
    ) -> Difference:
        """How far the first output is from what is expected, on a heap."""
        if heap not in self._engines:
            environment = dirty_heap(int(heap)) if heap else {}
            environment["PADDING"] = 97 * self.attempt * "x"
            self._engines[heap] = Engine(self.engine, self.threads, self.limit_s, environment)
        self.runs += 1
        try:
            answer = self._engines[heap].run(model, feeds, output_names(model)[:1])[0]
            return compare(answer, expected)
        except BackendFailure as failure:
            return of_failure(failure)
        finally:
            if self.fresh:
                self._stop(heap)

    def symptom(self, model: ModelProto, feeds: Feeds, limit: float) -> Symptom | None:
        """What is wrong on a plain heap, or on dirty ones where that is different; None where
        nothing is. Raises BackendFailure when ONNX Runtime cannot run the model."""
        expected = expected_of(model, feeds)
        seen = {heap: self.observe(model, feeds, expected, heap) for heap in HEAPS}
        if all(same(seen[PLAIN], one) for one in seen.values()):
            heap = PLAIN
        else:
            heap = max(HEAPS[1:], key=lambda heap: seen[heap].rel)
        return symptom_of(seen[heap], heap) if seen[heap].rel > limit else None

    def shows(self, model: ModelProto, feeds: Feeds, symptom: Symptom, limit: float) -> bool:
        """Whether a model has the same symptom, and by more than rounding could make it."""
        try:
            expected = expected_of(model, feeds)
            is_value = family(symptom.kind) == "values"
            if is_value and not is_measurable(model, feeds, expected, limit):
                return False
        except BackendFailure:
            return False
        seen = self.observe(model, feeds, expected, symptom.heap)
        if not (seen.rel > limit and symptom.is_like(seen)):
            return False
        if not symptom.heap:
            return True
        other = next(heap for heap in HEAPS[1:] if heap != symptom.heap)
        return not same(seen, self.observe(model, feeds, expected, other))


def symptom_of(difference: Difference, heap: str) -> Symptom:
    reason = reason_of(difference)
    return Symptom(difference.kind, difference.text(), difference.rel, reason, heap)


def family(kind: str) -> str:
    """Wrong values, NaN among them, and a wrong shape are one fault: further down the graph a wrong
    shape is spread over the right one and leaves wrong values."""
    return "values" if kind in ("nonfinite", "shape") else kind


def reason_of(difference: Difference) -> str:
    """What stays of a message when the graph gets smaller: the operator, the places in OpenCV's
    source, the signal."""
    if not difference.failed:
        return ""
    pattern = r"SIG[A-Z]+|\w+\.[ch]pp:\d+|\[\w+(?=@)"
    return " ".join(re.findall(pattern, difference.message))


def expected_of(model: ModelProto, feeds: Feeds) -> np.ndarray:
    """The first output by ONNX Runtime."""
    (output,) = output_names(model)[:1]
    return run_onnxruntime(model, feeds, [output])[output]


def kept_limit(symptom: Symptom, limit: float) -> float:
    """The limit of a reduction: no smaller difference than a share of the one that was found."""
    if family(symptom.kind) != "values":
        return limit
    return max(limit, min(KEPT_SHARE * symptom.rel, ENOUGH))


def is_measurable(model: ModelProto, feeds: Feeds, expected: np.ndarray, limit: float) -> bool:
    """Whether a difference beyond the limit is more than rounding makes: there are values, and they
    hardly change when the inputs do."""
    if not np.isfinite(expected).all() or not expected.any():
        return False
    random = np.random.default_rng(0)
    nudged = {
        name: value * (1 + ROUNDING * random.choice([-1, 1], value.shape)).astype(value.dtype)
        if value.dtype == np.float32
        else value
        for name, value in feeds.items()
    }
    return compare(expected_of(model, nudged), expected).rel < limit / 3


def same(one: Difference, other: Difference) -> bool:
    """Whether two runs ended alike, their answers bit for bit."""
    if one.candidate is None or other.candidate is None:
        return (one.kind, reason_of(one)) == (other.kind, reason_of(other))
    return same_bits(one.candidate, other.candidate)
