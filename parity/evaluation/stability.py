"""Whether OpenCV gives the same answers in every process, whatever its memory held before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import PERTURB, dirty_heap, is_dirty
from parity.backends.isolated import BackendWorker, IsolatedForward
from parity.backends.opencv import load_opencv
from parity.core.params import OpenCVParams
from parity.core.paths import onnx_path
from parity.evaluation.scores import Parity, same_bits

PROCESSES = "fresh processes"

START_S = 60  # for a process that looks at its heap


@dataclass(frozen=True)
class Answers:
    """What a process gave: an output a blob, as far as it came, and why no further, if so."""

    name: str
    outputs: list[np.ndarray]
    failure: BackendFailure | None = None


def ways(values: Sequence[int]) -> tuple[str, dict[str, dict[str, str]]]:
    """How OpenCV is tried: the method, and by name the environments of the new processes."""
    environments = {f"{PERTURB}={value}": dirty_heap(value) for value in values}
    for value in values:
        with BackendWorker(START_S, dirty_heap(value)) as worker:
            if not worker.call(is_dirty, value):
                return PROCESSES, {f"process {number}": {} for number, _ in enumerate(values, 2)}
    return PERTURB, environments


def answers(
    way: str,
    name: str,
    blobs: Sequence[np.ndarray],
    params: OpenCVParams,
    environment: dict[str, str],
) -> Answers:
    """The outputs of a new process."""
    outputs = []
    try:
        with IsolatedForward(
            load_opencv,
            onnx_path(name),
            params,
            limit_s=params.time_limit,
            environment=environment,
            quiet=True,
        ) as forward:
            for blob in blobs:
                outputs.append(forward(blob))
    except BackendFailure as failure:
        return Answers(way, outputs, failure)
    return Answers(way, outputs)


def twice(name: str, blobs: Sequence[np.ndarray], params: OpenCVParams) -> tuple[Answers, Answers]:
    """The outputs of a plain process, each blob twice in a row on one net.

    A failure belongs to the first run of the two where it came there, and then to both.
    """
    twofold = answers("", name, [blob for blob in blobs for _ in range(2)], params, {})
    plain, again = twofold.outputs[::2], twofold.outputs[1::2]
    first_failure = twofold.failure if len(twofold.outputs) % 2 == 0 else None
    return Answers("plain", plain, first_failure), Answers("again", again, twofold.failure)


def report(method: str, plain: Answers, others: Sequence[Answers]) -> dict:
    """Each run against the plain one, and whether all are the same.

    `stable` is None where all failed, in the same way: that is no question of luck.
    """
    runs = [compared(plain, other) for other in others]
    stable = all(one["same"] for one in runs)
    if stable and plain.failure:
        stable = None
    return {"method": method, "stable": stable, "runs": runs}


def compared(plain: Answers, other: Answers) -> dict:
    """One run against the plain one: whether it is the same, failures of the same kind too, and the
    largest difference over the plain run's largest absolute value, NaN where that is no number."""
    kinds = {one.failure.kind if one.failure else None for one in (plain, other)}
    same = len(kinds) == 1 and same_answers(plain, other)
    parity = Parity()
    for one, two in zip(plain.outputs, other.outputs, strict=False):
        if one.shape == two.shape:
            with np.errstate(invalid="ignore"):  # of infinite outputs
                parity.update_logits(two, one)
    return {
        "name": other.name,
        "same": same,
        "rel": 0.0 if same and not other.failure else parity.scores()["rel"],
        "failure": other.failure.content() if other.failure else None,
    }


def same_answers(plain: Answers, other: Answers) -> bool:
    """Whether the outputs that both have are the same, NaN and the sign of 0 too."""
    pairs = zip(plain.outputs, other.outputs, strict=False)
    return all(same_bits(one, two) for one, two in pairs)
