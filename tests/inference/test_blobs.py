import threading
import time

import numpy as np
import pytest
from helpers.in_process import load_doubled
from helpers.inference import blob_of
from helpers.params import MEAN, STD
from helpers.refusals import refused

from parity.backends.isolated import IsolatedForward
from parity.inference import blobs
from parity.inference.blobs import read_blobs
from parity.preprocessing.splits import Split


@pytest.fixture
def split(prepared) -> Split:
    return Split("imagenet", "val", "classification")


def test_every_blob_holds_its_images_while_it_is_used(split):
    ranges = [(0, 4), (4, 8), (8, 10)]
    seen = []
    for start, stop, blob in read_blobs(split, ranges, MEAN, STD, lambda blob: blob):
        np.testing.assert_array_equal(blob, blob_of(split, start, stop))
        time.sleep(0.02)  # the next one is read meanwhile
        np.testing.assert_array_equal(blob, blob_of(split, start, stop))
        seen.append((start, stop))
    assert seen == ranges


def test_the_blobs_of_another_process_lie_in_shared_memory(split):
    with IsolatedForward(load_doubled, limit_s=60) as forward:
        for start, stop, blob in read_blobs(split, [(0, 3), (3, 6), (6, 8)], MEAN, STD, forward):
            assert any(memory.holds(blob) for memory in forward._blobs)
            np.testing.assert_array_equal(forward(blob), 2 * blob_of(split, start, stop))


def test_the_next_blob_is_read_while_one_is_used(split, monkeypatch):
    reading = threading.Event()

    def observed(*arguments, **named):
        reading.set()
        return normalize(*arguments, **named)

    normalize = blobs.normalize
    monkeypatch.setattr(blobs, "normalize", observed)
    batches = read_blobs(split, [(0, 2), (2, 4), (4, 6)], MEAN, STD, lambda blob: blob)
    next(batches)
    reading.clear()
    next(batches)
    assert reading.wait(20)
    batches.close()


def test_images_that_cannot_be_read_are_refused(split):
    (split.folder / "images.npy").write_bytes(b"")
    batches = read_blobs(split, [(0, 2)], MEAN, STD, lambda blob: blob)
    with refused("images.npy"):
        next(batches)
