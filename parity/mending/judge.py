"""Is OpenCV right with a version of a file? The reference is the original file in ONNX Runtime."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import dirty_heap
from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.core.cli import InputError
from parity.faults.engine_process import EngineProcess
from parity.faults.inputs import input_lengths
from parity.faults.settings import EngineSettings
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import input_names, output_names
from parity.graphs.tolerance import Tolerance, rounding

MULTIPLE = 32  # of height and width: networks that halve their input five times need it
BATCHES = (2,)
SHRINKS = ((3 / 4, 3 / 4),)


@dataclass(frozen=True)
class Case:
    """A blob, and the original's outputs for it by ONNX Runtime.

    `limits` are those of the float32 outputs, which OpenCV is judged by, or of all where there are
    none; `exact` are these outputs in float64, where they are known.
    """

    blob: np.ndarray
    expected: Mapping[str, np.ndarray]
    exact: Mapping[str, np.ndarray] | None
    limits: Mapping[str, float]


@dataclass(frozen=True)
class Judgement:
    """The largest difference of OpenCV's outputs, measured by the limit there.

    `where` names the blob, the heap and the output; `case` is the number of the blob. `error` is
    the difference over the limit.
    """

    difference: Difference
    error: float
    where: str
    unstable: bool = False
    case: int = 0
    output: str = ""

    @property
    def passes(self) -> bool:
        return self.error <= 1 and not self.unstable

    @property
    def verdict(self) -> str:
        """The verdict in the words of COVERAGE.md."""
        if self.passes:
            return "same"
        if self.unstable:
            return "unstable"
        return self.difference.kind if self.difference.failed else "different"

    @property
    def text(self) -> str:
        return f"{self.verdict}, {self.where}: {self.difference.text()}"

    def is_better_than(self, other: "Judgement") -> bool:
        """Whether this is a step forward: more blobs pass, OpenCV gets further, or it fails for
        another reason, or the difference is at most half."""
        if self.passes or other.passes:
            return self.passes and not other.passes
        # A crash ends the process, so which blob it was is not known.
        crashed = "crashed" in (self.difference.kind, other.difference.kind)
        if self.case != other.case and not crashed:
            return self.case > other.case
        if self.difference.failed != other.difference.failed:
            return other.difference.failed
        if self.difference.failed:
            return self.difference.failure_site != other.difference.failure_site
        return self.error <= other.error / 2


@dataclass
class Judge:
    """Runs versions of one model in an engine of OpenCV; use it in a `with`.

    Versions run in processes that stay, in a plain one and on dirty heaps.
    """

    cases: Sequence[Case]
    settings: EngineSettings
    _stack: ExitStack = field(default_factory=ExitStack)
    _engines: dict[str, EngineProcess] = field(default_factory=dict)

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._engines.clear()

    def judge(self, model: ModelProto) -> Judgement:
        """Run a version on all blobs, one after the other on one network and the first once more;
        if all pass, again on dirty heaps. Not a bit may change from run to run.

        Returns the first blob's judgement that does not pass, else the worst.
        """
        plain = self._run(model, "")
        judgements = [self._worst(found, number, "") for number, found in enumerate(plain)]
        for judgement in judgements:
            if not judgement.passes:
                return judgement
        if not _is_same(plain[-1], plain[0]):
            return replace(self._worst(plain[-1], 0, ", a second run"), unstable=True)
        for value in self.settings.perturb:
            found = self._run(model, str(value))
            for number, (before, after) in enumerate(zip(plain, found, strict=False)):
                if not _is_same(after, before):
                    judgement = self._worst(after, number, f", MALLOC_PERTURB_={value}")
                    return replace(judgement, unstable=True)
        return max(judgements, key=lambda one: one.error)

    def _run(self, model: ModelProto, heap: str) -> list[dict[str, Difference]]:
        """Return the differences at the outputs on a heap, for each case and the first once more,
        or until one fails."""
        if heap not in self._engines:
            environment = dirty_heap(int(heap)) if heap else {}
            process = EngineProcess(self.settings, environment)
            self._engines[heap] = self._stack.enter_context(process)
        cases, name = [*self.cases, self.cases[0]], input_names(model)[0]
        outputs = list(cases[0].limits)
        feeds = [{name: case.blob} for case in cases]
        try:
            found, failure = self._engines[heap].run_in_turn(model, feeds, outputs)
        except BackendFailure as ended:
            found, failure = [], ended
        differences = [
            {
                name: compare(one, case.expected[name])
                for name, one in zip(outputs, values, strict=True)
            }
            for case, values in zip(cases, found, strict=False)
        ]
        if failure:
            differences.append(dict.fromkeys(outputs, Difference.from_failure(failure)))
        return differences

    def _worst(self, found: Mapping[str, Difference], number: int, where: str) -> Judgement:
        number %= len(self.cases)
        case = self.cases[number]
        name = max(found, key=lambda name: _error(found[name], case.limits[name]))
        at = f", {name}" if len(found) > 1 else ""
        where = f"blob {case.blob.shape}{where}{at}"
        if found[name].kind == "crashed":  # which of them is not known
            where = "blobs " + ", ".join(str(one.blob.shape) for one in self.cases)
        error = _error(found[name], case.limits[name])
        return Judgement(found[name], error, where, case=number, output=name)


def _is_same(found: Mapping[str, Difference], before: Mapping[str, Difference]) -> bool:
    return all(found[name].is_same(before[name]) for name in before)


def _error(difference: Difference, limit: float) -> float:
    return difference.rel / limit if difference.rel < inf else inf


def make_cases(
    path: Path, model: ModelProto, blobs: Sequence[np.ndarray], fixed: float
) -> list[Case]:
    """Return the blobs to judge by, and what the model computes for them.

    The given blobs, float32 (N, 3, H, W), come first. Where the model leaves the number of images
    open, or both height and width, and these blobs do not differ in it, others follow. The
    limit of an output is what rounding explains there, or `fixed` where float64 is not at hand.
    Raises InputError where ONNX Runtime refuses a given blob.
    """
    try:
        cases = [make_case(model, blob, fixed) for blob in blobs]
    except BackendFailure as failure:
        raise InputError(f"{path}: ONNX Runtime: {failure}") from None
    for other in other_blobs(model, blobs):
        try:
            cases.append(make_case(model, other, fixed))
        except BackendFailure:  # the network accepts fewer sizes than the file says
            continue
    return cases


def other_blobs(
    model: ModelProto,
    blobs: Sequence[np.ndarray],
    batches: Sequence[int] = BATCHES,
    shrinks: Sequence[tuple[float, float]] = SHRINKS,
) -> list[np.ndarray]:
    """Return blobs of other numbers of images and of other sizes, where the model takes them and
    the given blobs differ in neither. `batches` are multiples of the first blob's number of images,
    `shrinks` shares of its height and width."""
    lengths = input_lengths(model, input_names(model)[0])
    blob, others = blobs[0], []
    if lengths is None:
        lengths = [None] * blob.ndim
    if lengths[:1] == [None] and len({len(one) for one in blobs}) == 1:
        flipped = blob[::-1, ..., ::-1]
        others += [np.concatenate(([blob, flipped] * count)[:count]) for count in batches]
    if lengths[2:] == [None, None] and len({one.shape[2:] for one in blobs}) == 1:
        for shares in shrinks:
            height, width = (
                max(MULTIPLE, int(one * share) // MULTIPLE * MULTIPLE)
                for one, share in zip(blob.shape[2:], shares, strict=True)
            )
            others.append(blob[:, :, :height, :width])
    known = {one.shape for one in blobs}
    new = {one.shape: one for one in others if one.shape not in known}
    return [np.ascontiguousarray(one) for one in new.values()]


def make_case(model: ModelProto, blob: np.ndarray, fixed: float) -> Case:
    """Return a blob with what the model computes for it in ONNX Runtime and, where it can, in
    float64; `fixed` limits an output whose rounding is not known. Raises BackendFailure."""
    feeds = {input_names(model)[0]: blob}
    expected = run_onnxruntime(model, feeds, output_names(model))
    names = judged_outputs(expected)
    try:
        exact = run_float64(model, feeds, names)
    except BackendFailure:
        return Case(blob, expected, None, dict.fromkeys(names, fixed))
    noise = {name: rounding(expected[name], exact[name]) for name in names}
    tolerance = Tolerance(fixed, {name: one for name, one in noise.items() if one is not None})
    return Case(blob, expected, exact, {name: tolerance.at(name) for name in names})


def judged_outputs(expected: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the outputs that OpenCV is judged by: the float32 ones, or all where
    there are none."""
    return [name for name, one in expected.items() if one.dtype == np.float32] or [*expected]
