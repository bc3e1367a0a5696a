"""Compute batches of a split's images: all of them here, or ranges of them on a cluster.

A range begins at a multiple of the batch size, counted from the first image to compute, so a
cluster computes the batches of a run without one, and the same bits.
"""

import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from parity.backends.contract import BackendFailure, Forward
from parity.backends.isolated import timed
from parity.core.cluster import QUEUED, Cluster
from parity.core.params import Task
from parity.inference.blobs import read_blobs
from parity.inference.predictions import Kept, keep
from parity.preprocessing.splits import Split

RANGE_S = 60  # of computing, about, in a range
RANGE_BYTES = 64_000_000  # of results, about: they wait in a worker's memory


@dataclass(frozen=True)
class Recipe:
    """How to get from the images of a split to what is kept of their logits.

    `load` returns the backend's forward pass; on a cluster it is pickled. `target` is where the
    predictions will be, for messages. The first `keep_logits` images of a segmentation keep their
    logits. `dtype` is that of a classification's logits.
    """

    target: Path
    load: Callable[[], Forward]
    classes: int
    batch_size: int
    keep_logits: int
    mean: list[float]
    std: list[float]
    dtype: type = np.float32


class Batch(NamedTuple):
    """What is kept of a batch; `shape` is that of its logits, `seconds` the time of the forward
    pass."""

    start: int
    stop: int
    kept: Kept
    shape: tuple[int, ...]
    seconds: float


def compute_here(recipe: Recipe, split: Split, first: int) -> Iterator[Batch]:
    """Yield the batches from image `first` on, computed in this process.

    A forward pass that is a context manager is closed at the end. Raises BackendFailure of kind
    `shape` when the outputs do not fit the blob and `classes`, and what the backend raises.
    """
    with ExitStack() as stack:
        yield from _batches(recipe, split, _open(recipe, stack), first, len(split))


def _open(recipe: Recipe, stack: ExitStack) -> Forward:
    """Load a forward pass, which `stack` closes if it is a context manager."""
    forward = recipe.load()
    return stack.enter_context(forward) if isinstance(forward, AbstractContextManager) else forward


def _batches(
    recipe: Recipe, split: Split, forward: Forward, first: int, last: int
) -> Iterator[Batch]:
    ranges = split.batches(recipe.batch_size, first, last)
    with closing(read_blobs(split, ranges, recipe.mean, recipe.std, forward)) as blobs:
        for start, stop, blob in blobs:
            logits, seconds = timed(forward, blob)
            _check_shape(recipe, split.task, blob, logits)
            kept = keep(logits, split.task, recipe.keep_logits - start, recipe.dtype)
            yield Batch(start, stop, kept, logits.shape, seconds)


def _check_shape(recipe: Recipe, task: Task, blob: np.ndarray, logits: np.ndarray) -> None:
    expected = (len(blob), recipe.classes)
    if task == "segmentation":
        expected += blob.shape[2:]
    if logits.shape != expected:
        wanted = f"expected {expected}: {recipe.classes} classes for a blob of {blob.shape}"
        message = f"{recipe.target}: the model's output is {logits.shape}; {wanted}"
        raise BackendFailure("shape", message)


class Range(NamedTuple):
    """Images `start` to `stop` of a split, a task of a cluster."""

    target: Path
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.target}, images {self.start} to {self.stop}"


def compute_on(cluster: Cluster, recipe: Recipe, split: Split, first: int) -> Iterator[Batch]:
    """As `compute_here`, computed by the workers of a cluster; the batches come in order."""
    ranges = Ranges(cluster, recipe, first, len(split))
    for _, batches in cluster.results(partial(_compute_range, recipe, split), ranges):
        ranges.learn(batches)
        yield from batches


class HasWorkers(Protocol):
    @property
    def workers(self) -> int: ...


class Ranges:
    """The images from `first` on in ranges of whole batches, for a cluster of `workers`.

    A range takes about RANGE_S and RANGE_BYTES, by what the last one took; before one is known, it
    is a single batch. Towards the end ranges get shorter, so that all workers end at the same time.
    """

    def __init__(self, cluster: HasWorkers, recipe: Recipe, first: int, images: int) -> None:
        self._cluster, self._recipe = cluster, recipe
        self._first, self._images = first, images
        self._longest = 1  # batches of a range

    def __iter__(self) -> Iterator[Range]:
        start, size = self._first, self._recipe.batch_size
        while start < self._images:
            left = math.ceil((self._images - start) / size)
            batches = batches_of_range(left, self._cluster.workers, self._longest)
            stop = min(start + batches * size, self._images)
            yield Range(self._recipe.target, start, stop)
            start = stop

    def learn(self, batches: list[Batch]) -> None:
        """Fit the ranges to come to the time and size of one that is done."""
        seconds = max(batch.seconds for batch in batches)
        self._longest = longest_range(seconds, max(_size(batch.kept) for batch in batches))


def longest_range(seconds: float, nbytes: int) -> int:
    """How many batches a range may have, of which each takes that long and that much memory."""
    return max(1, int(min(RANGE_S / max(seconds, 1e-6), RANGE_BYTES / max(nbytes, 1))))


def batches_of_range(left: int, workers: int, longest: int) -> int:
    """How many of the batches that are left make the next range."""
    return max(1, min(longest, left // (QUEUED * workers)))


def _size(kept: Kept) -> int:
    if isinstance(kept, np.ndarray):
        return kept.nbytes
    return sum(len(one.mask) + (0 if one.logits is None else one.logits.nbytes) for one in kept)


@dataclass
class _Opened:
    """A forward pass that is kept, by its pickled recipe, and what closes it."""

    recipe: bytes
    forward: Forward
    stack: ExitStack


_opened: list[_Opened] = []  # in a worker's process: the forward pass of the last range


def _compute_range(recipe: Recipe, split: Split, task: Range) -> list[Batch]:
    """Compute a range in a worker's process, which keeps the forward pass for the next one."""
    key = pickle.dumps(recipe)
    if not _opened or _opened[0].recipe != key:
        _close()
        stack = ExitStack()
        _opened.append(_Opened(key, _open(recipe, stack), stack))
    try:
        return list(_batches(recipe, split, _opened[0].forward, task.start, task.stop))
    except BaseException:
        _close()  # a backend that has crashed starts again with the next range
        raise


def _close() -> None:
    while _opened:
        _opened.pop().stack.close()
