"""The blobs of a split, read and normalised ahead of the forward pass."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from parity.backends.contract import Forward
from parity.backends.isolated import BLOBS, IsolatedForward
from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split


def read_blobs(
    split: Split,
    ranges: Iterable[tuple[int, int]],
    mean: list[float],
    std: list[float],
    forward: Forward,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (start, stop, blob) of each range of images, while a thread reads the next blob.

    A blob, float32 (N, 3, H, W), is overwritten once the next one has been used. That of a forward
    pass in a process of its own is written into the memory that both processes share.
    """
    blobs: list[np.ndarray | None] = [None] * BLOBS

    def read(slot: int, start: int, stop: int) -> np.ndarray:
        images = split.images(start, stop)
        if isinstance(forward, IsolatedForward):
            count, height, width, channels = images.shape
            blobs[slot] = forward.blob(slot, (count, channels, height, width))
        blobs[slot] = normalize(images, mean, std, out=blobs[slot])
        return blobs[slot]

    with ThreadPoolExecutor(1) as thread:
        read_ahead = deque()
        for number, (start, stop) in enumerate(ranges):
            read_ahead.append((start, stop, thread.submit(read, number % BLOBS, start, stop)))
            if len(read_ahead) == BLOBS:
                first, last, blob = read_ahead.popleft()
                yield first, last, blob.result()
        for first, last, blob in read_ahead:
            yield first, last, blob.result()
