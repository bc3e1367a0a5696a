"""Tell whether OpenCV's answers for a model depend on luck.

One run proves nothing where memory is read that was never written: what lies there differs from
process to process. So the model runs twice in a row, then in new processes whose heap is dirtied on
purpose, and every output is compared bit for bit with the first. Where the heap cannot be dirtied,
plain processes stand in.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import PERTURB, dirty_heap, is_dirty
from parity.backends.isolated import IsolatedForward, Worker
from parity.backends.opencv import load_opencv
from parity.core.cli import log, run
from parity.core.files import write_json
from parity.core.params import ModelParams, OpenCVParams, Params, entry, first, load_params
from parity.core.paths import onnx_path, stability_path
from parity.evaluation.messages import stability_text
from parity.evaluation.scores import Parity
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

PROCESSES = "fresh processes"
START_S = 60  # for a process that looks at its heap


@dataclass(frozen=True)
class Answers:
    """What a process gave: an output a blob, as far as it came, and why no further, if so."""

    name: str
    outputs: list[np.ndarray]
    failure: BackendFailure | None = None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.stability", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    blobs = first_blobs(entry(params, "models", name), params)
    method, environments = ways(params.stability.perturb)
    plain, again = twice(name, blobs, params.opencv)
    others = [
        answers(way, name, blobs, params.opencv, environment)
        for way, environment in environments.items()
    ]
    result = report(method, plain, [again, *others])
    write_json(stability_path(name), {"images": len(blobs), **result})
    log(f"{name}: {stability_text(result)}")


def first_blobs(model: ModelParams, params: Params) -> list[np.ndarray]:
    """The first images of the val split, float32 (1, 3, H, W) each."""
    split = Split(model.preprocess, "val", model.task)
    normalization = read_normalization(model.preprocess)
    count = first(params.stability.images, len(split))
    return [
        normalize(split.images(start, stop), **normalization)
        for start, stop in split.batches(1)
        if stop <= count
    ]


def ways(values: Sequence[int]) -> tuple[str, dict[str, dict[str, str]]]:
    """How OpenCV is tried: the method, and by name the environments of the new processes."""
    environments = {f"{PERTURB}={value}": dirty_heap(value) for value in values}
    for value in values:
        with Worker(START_S, dirty_heap(value)) as worker:
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
    same = len(kinds) == 1 and same_bits(plain, other)
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


def same_bits(plain: Answers, other: Answers) -> bool:
    """Whether the outputs that both have are the same, NaN and the sign of 0 too."""
    pairs = zip(plain.outputs, other.outputs, strict=False)
    return all(one.shape == two.shape and one.tobytes() == two.tobytes() for one, two in pairs)


if __name__ == "__main__":
    run(main)
