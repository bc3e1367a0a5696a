"""Tell what OpenCV does wrong with an ONNX file, in terms that also fit a smaller file."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import dirty_heap, padding
from parity.backends.onnxruntime import run_onnxruntime
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import EngineSettings
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import output_names

Feeds = Mapping[str, np.ndarray]

PLAIN = ""  # a heap that is not dirtied
# A few roundings of float32. Where inputs that differ by this much change the outputs by a large
# part of the limit, rounding alone could explain the symptom.
ROUNDING = 1e-6
# The difference may shrink with the graph, but not to where rounding begins.
KEPT_SHARE, ENOUGH = 0.1, 1e-2


@dataclass(frozen=True)
class Symptom:
    """What is wrong with a model: `kind`, `message` and `rel` are those of a Difference.

    `failure_site` distinguishes failures of one kind. `heap` is the value of MALLOC_PERTURB_ that
    shows the symptom where the output depends on uninitialized memory, else PLAIN.
    """

    kind: str
    message: str
    rel: float = inf
    failure_site: str = ""
    heap: str = PLAIN

    @property
    def text(self) -> str:
        return f"unstable, {self.message}" if self.heap else self.message

    @property
    def family(self) -> str:
        return family(self.kind)

    def is_like(self, difference: Difference) -> bool:
        own = (self.family, self.failure_site)
        return own == (family(difference.kind), difference.failure_site)


class Observer:
    """Runs models in one engine, in a process for each heap, and observes symptoms; use it in a
    `with`.

    With `fresh`, every run gets a new process: slower, but nothing remains in memory from the run
    before. Another `attempt` places other memory around the tensors.
    """

    def __init__(self, settings: EngineSettings, fresh: bool = False, attempt: int = 0) -> None:
        self.settings, self.fresh, self.attempt = settings, fresh, attempt
        self.heaps = [PLAIN, *map(str, settings.perturb)]
        self.runs = 0
        self._engines: dict[str, EngineProcess] = {}

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._engines.values():
            engine.stop()
        self._engines.clear()

    def observe(
        self, model: ModelProto, feeds: Feeds, expected: np.ndarray, heap: str = PLAIN
    ) -> Difference:
        """Return the difference of the first output from the expected one, on a heap."""
        if heap not in self._engines:
            environment = padding(self.attempt) | (dirty_heap(int(heap)) if heap else {})
            self._engines[heap] = EngineProcess(self.settings, environment)
        self.runs += 1
        try:
            found = self._engines[heap].run(model, feeds, output_names(model)[:1])[0]
            return compare(found, expected)
        except BackendFailure as failure:
            return Difference.from_failure(failure)
        finally:
            if self.fresh:
                self._engines.pop(heap).stop()

    def symptom(self, model: ModelProto, feeds: Feeds, limit: float) -> Symptom | None:
        """Return what is wrong on the plain heap, or on a dirty one if the heaps disagree.

        Returns None where nothing is wrong. Raises BackendFailure when ONNX Runtime cannot run the
        model.
        """
        expected = expected_output(model, feeds)
        seen = {heap: self.observe(model, feeds, expected, heap) for heap in self.heaps}
        heap = PLAIN
        if not all(one.is_same(seen[PLAIN]) for one in seen.values()):
            heap = max(self.heaps[1:], key=lambda heap: seen[heap].rel)
        found = seen[heap]
        if not found.rel > limit:
            return None
        return Symptom(found.kind, found.text(), found.rel, found.failure_site, heap)

    def shows(self, model: ModelProto, feeds: Feeds, symptom: Symptom, limit: float) -> bool:
        """Whether a model has the same symptom, and by more than rounding can explain."""
        try:
            expected = expected_output(model, feeds)
            if symptom.family == "values" and not is_measurable(model, feeds, expected, limit):
                return False
        except BackendFailure:
            return False
        seen = self.observe(model, feeds, expected, symptom.heap)
        if not (seen.rel > limit and symptom.is_like(seen)):
            return False
        if not symptom.heap:
            return True
        other = next(heap for heap in reversed(self.heaps) if heap != symptom.heap)
        return not seen.is_same(self.observe(model, feeds, expected, other))


def family(kind: str) -> str:
    """Return the kind of a fault. Wrong values, NaN and a wrong shape are one: further down a
    graph, a wrong shape is broadcast to the right one and leaves wrong values."""
    return "values" if kind in ("nonfinite", "shape") else kind


def expected_output(model: ModelProto, feeds: Feeds) -> np.ndarray:
    """Compute the first output in ONNX Runtime; raises BackendFailure."""
    (output,) = output_names(model)[:1]
    return run_onnxruntime(model, feeds, [output])[output]


def reduction_limit(symptom: Symptom, limit: float) -> float:
    """Return the limit for smaller graphs: they must keep a share of the original difference."""
    if symptom.family != "values":
        return limit
    return max(limit, min(KEPT_SHARE * symptom.rel, ENOUGH))


def is_measurable(model: ModelProto, feeds: Feeds, expected: np.ndarray, limit: float) -> bool:
    """Whether rounding cannot explain a difference beyond the limit: the expected values are finite
    and not all 0, and hardly change when the inputs change by a rounding."""
    if not np.isfinite(expected).all() or not expected.any():
        return False
    random = np.random.default_rng(0)
    nudged = {
        name: value * (1 + ROUNDING * random.choice([-1, 1], value.shape)).astype(value.dtype)
        if value.dtype == np.float32
        else value
        for name, value in feeds.items()
    }
    return compare(expected_output(model, nudged), expected).rel < limit / 3
