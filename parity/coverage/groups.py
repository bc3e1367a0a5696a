"""Run a backend on groups of images: one size, some at a time."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.params import Params
from parity.coverage.reference import ZooModel, parse_size
from parity.coverage.synthetic_images import patterns

# Start a process that runs a backend; the keyword `environment` is added to this process's own.
Start = Callable[..., IsolatedForward]


@dataclass(frozen=True, eq=False)
class Group:
    """Images of one size, `batch` at a time."""

    blob: np.ndarray  # all images, float32 (N, 3, H, W)
    batch: int
    reference: np.ndarray  # PyTorch's logits, float32 (N, C) or (N, C, H, W)
    exact: np.ndarray | None = None  # those of the network in float64, where it computes in it

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of one batch."""
        return (self.batch, *self.blob.shape[1:])

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


@dataclass(frozen=True)
class Outputs:
    """What a backend computes for a group."""

    logits: np.ndarray  # of all images, or of the first batch only
    ms: float  # median of the forward passes
    again: np.ndarray | None = None  # the first batch, repeated after all others


Run = Outputs | BackendFailure


def read_groups(model: ZooModel, params: Params, with_exact: bool) -> Iterator[Group]:
    """Yield each size with one image at a time, then with all images as one batch.

    Reads what `make_reference` wrote and, `with_exact`, what `make_exact` did.
    """
    images = params.coverage.images
    for size in model.sizes(params):
        blob = patterns(images, *parse_size(size), params.seed)
        reference = np.load(model.reference_path(size))
        exact = np.load(model.exact_path(size)) if with_exact else None
        for batch in (1, images):
            yield Group(blob, batch, reference, exact)


def run_groups(
    start: Start,
    groups: Sequence[Group],
    environment: Mapping[str, str] | None = None,
    **options: bool,
) -> dict[Group, Run]:
    """Run groups one after the other in one process, and in a new process after a failure.

    `environment` is added to that of the process. `options`: those of `run_group`.
    """
    runs: dict[Group, Run] = {}
    forward = None
    try:
        for group in groups:
            try:
                forward = forward or start(environment=environment or {})
            except BackendFailure as failure:  # the model cannot be read, whatever the group
                return {group: runs.get(group, failure) for group in groups}
            try:
                runs[group] = run_group(forward, group, **options)
            except BackendFailure as failure:
                runs[group] = failure
                forward.__exit__()
                forward = None
    finally:
        if forward:
            forward.__exit__()
    return runs


def run_group(
    forward: IsolatedForward, group: Group, first_only: bool = False, again: bool = False
) -> Outputs:
    """Run a group batch by batch, or its first batch only; with `again` repeat that at the end.

    Raises BackendFailure `shape` for outputs of an unexpected shape.
    """
    outputs, seconds = [], []
    for start in range(0, group.batch if first_only else len(group.blob), group.batch):
        batch = slice(start, start + group.batch)
        outputs.append(forward(group.blob[batch]))
        seconds.append(forward.seconds)
        expected = group.reference[batch].shape
        if outputs[-1].shape != expected:
            found = f"the output has the shape {outputs[-1].shape}; expected {expected}"
            raise BackendFailure("shape", found)
    repeated = forward(group.blob[: group.batch]) if again else None
    return Outputs(np.concatenate(outputs), 1e3 * statistics.median(seconds), repeated)
