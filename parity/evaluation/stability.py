"""Whether OpenCV gives the same outputs in every process, whatever its memory held before."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import PERTURB, dirty_heap, is_dirty
from parity.backends.isolated import BackendWorker, IsolatedForward
from parity.backends.opencv import load_opencv
from parity.core.params import OpenCVParams
from parity.core.paths import mended_path
from parity.evaluation.results import Stability, StabilityRun
from parity.evaluation.scores import Parity, same_bits

FRESH_PROCESSES = "fresh processes"

START_S = 60  # for a process to start and look at its heap


@dataclass(frozen=True)
class Run:
    """The outputs of a run, one per blob, up to the failure that ended it, if any."""

    name: str
    outputs: list[np.ndarray]
    failure: BackendFailure | None = None


def rerun_environments(perturb: Sequence[int]) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the method, and the environment variables of each new process by the run's name.

    One process per value of MALLOC_PERTURB_; plain ones where this system's heap ignores it.
    """
    for value in perturb:
        with BackendWorker(START_S, dirty_heap(value)) as worker:
            if not worker.call(is_dirty, value):
                plain = {f"process {number}": {} for number in range(2, len(perturb) + 2)}
                return FRESH_PROCESSES, plain
    return PERTURB, {f"{PERTURB}={value}": dirty_heap(value) for value in perturb}


def run_in_new_process(
    name: str,
    model: str,
    blobs: Sequence[np.ndarray],
    params: OpenCVParams,
    environment: dict[str, str],
) -> Run:
    """Run OpenCV on each blob in a process of its own; `name` is the run's."""
    outputs = []
    try:
        with IsolatedForward(
            load_opencv,
            mended_path(model),
            params,
            limit_s=params.time_limit,
            environment=environment,
            quiet=True,
        ) as forward:
            for blob in blobs:
                outputs.append(forward(blob))
    except BackendFailure as failure:
        return Run(name, outputs, failure)
    return Run(name, outputs)


def run_twice_in_one_process(
    model: str, blobs: Sequence[np.ndarray], params: OpenCVParams
) -> tuple[Run, Run]:
    """Run each blob twice in a row on one net; return the first runs and the second ones.

    A failure in a first run ends both; one in a second run ends only the second.
    """
    doubled = [blob for blob in blobs for _ in range(2)]
    both = run_in_new_process("", model, doubled, params, {})
    first_failed = len(both.outputs) % 2 == 0
    first = Run("first", both.outputs[::2], both.failure if first_failed else None)
    return first, Run("again", both.outputs[1::2], both.failure)


def judge_runs(images: int, method: str, first: Run, others: Sequence[Run]) -> Stability:
    """Compare every run with the first.

    `stable` is None where all failed in the same way: that tells nothing about luck.
    """
    runs = tuple(compare_runs(first, other) for other in others)
    stable = all(run.same for run in runs)
    return Stability(images, method, None if stable and first.failure else stable, runs)


def compare_runs(first: Run, other: Run) -> StabilityRun:
    """Compare a run with the first one, on the blobs that both reached.

    They are the same with identical bits and failures of the same kind. `rel` is the largest
    difference over the first run's largest absolute value, NaN where that is undefined.
    """
    pairs = list(zip(first.outputs, other.outputs, strict=False))
    kinds = {run.failure.kind if run.failure else None for run in (first, other)}
    same = len(kinds) == 1 and all(starmap(same_bits, pairs))
    parity = Parity()
    for expected, output in pairs:
        if expected.shape == output.shape:
            with np.errstate(invalid="ignore"):  # infinite outputs
                parity.update_logits(output, expected)
    return StabilityRun(
        name=other.name,
        same=same,
        rel=0.0 if same and not other.failure else parity.scores().rel,
        failure=other.failure.content() if other.failure else None,
    )
