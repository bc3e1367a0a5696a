import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from parity.preprocessing.splits import (
    RowFile,
    Split,
    read_classes,
    read_rows,
    write_array,
    write_lines,
)


def as_saved(path: Path, array: np.ndarray) -> bytes:
    np.save(path, array)
    return path.read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_rows_written_in_any_order_are_what_numpy_saves(tmp_path, dtype):
    rows = np.random.default_rng(0).integers(0, 200, (7, 4, 3)).astype(dtype)
    file = RowFile(tmp_path / "a.npy", (4, 3), dtype)
    file.write(5, rows[5:])
    file.write(0, rows[:1])
    pickle.loads(pickle.dumps(file)).write(1, rows[1:5])
    file.finish(range(7))
    assert file.path.read_bytes() == as_saved(tmp_path / "b.npy", rows)
    assert file.size(7) == file.path.stat().st_size


def test_rows_that_are_not_contiguous_are_written_in_order(tmp_path):
    rows = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(0, 2, 1)
    write_array(tmp_path / "a.npy", rows)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)


@pytest.mark.parametrize("kept", [[], [0], [6], [1, 2, 5], [0, 1, 2, 3, 4, 5], list(range(7))])
def test_finish_keeps_the_given_rows_alone(tmp_path, kept):
    rows = np.arange(35, dtype=np.int64).reshape(7, 5)
    file = RowFile(tmp_path / "a.npy", (5,), np.int64)
    file.write(0, rows)
    file.finish(kept)
    assert file.path.read_bytes() == as_saved(tmp_path / "b.npy", rows[kept])


def test_bytes_after_the_last_row_are_cut_off(tmp_path):
    rows = np.arange(20, dtype=np.float32).reshape(4, 5)
    write_array(tmp_path / "a.npy", np.ones((9, 5), np.float32))
    write_array(tmp_path / "a.npy", rows)
    assert (tmp_path / "a.npy").read_bytes() == as_saved(tmp_path / "b.npy", rows)


def test_reading_some_rows_takes_no_memory_for_the_others(tmp_path):
    # 3 GB of zeros, in a sparse file
    RowFile(tmp_path / "a.npy", (224, 224, 3), np.uint8).finish(range(20_000))
    tracemalloc.start()
    rows = read_rows(tmp_path / "a.npy", 19_998, 20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.shape == (2, 224, 224, 3) and not isinstance(rows, np.memmap)
    assert peak < 2 * rows.nbytes


def test_a_split_gives_its_images_and_labels(prepared):
    split = Split("imagenet", "val", "classification")
    assert len(split) == 10 and split.names[0] == "sample_val_00000001"
    assert split.images(2, 5).shape == (3, 64, 64, 3)
    assert split.labels().shape == (10,) and split.labels().dtype == np.int64
    images, labels = split.cut_to_common_size(2, 5)
    np.testing.assert_array_equal(images, split.images(2, 5))
    np.testing.assert_array_equal(labels, split.labels()[2:5])


def test_a_split_gives_images_of_their_own_sizes_with_masks(prepared):
    split = Split("voc", "train", "segmentation")
    shapes = [split.images(index, index + 1).shape[1:3] for index in range(3)]
    assert len(set(shapes)) > 1
    assert [split.mask(index).shape for index in range(3)] == shapes


def test_a_segmentation_batch_is_cropped_at_the_top_left_to_its_common_size(prepared):
    split = Split("voc", "train", "segmentation")
    images, masks = split.cut_to_common_size(0, 3)
    shapes = [split.mask(index).shape for index in range(3)]
    height, width = (min(sides) for sides in zip(*shapes, strict=True))
    assert images.shape == (3, height, width, 3) and masks.shape == (3, height, width)
    for index in range(3):
        whole = split.images(index, index + 1)[0]
        np.testing.assert_array_equal(images[index], whole[:height, :width])
        np.testing.assert_array_equal(masks[index], split.mask(index)[:height, :width])


def test_batches_cover_every_image_once(prepared):
    split = Split("imagenet", "val", "classification")
    assert list(split.batches(4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(split.batches(99)) == [(0, 10)]
    assert list(split.batches(4, 4)) == [(4, 8), (8, 10)]


def test_a_split_that_was_never_written_is_not_an_empty_one(prepared):
    with pytest.raises(FileNotFoundError, match=r"names\.txt"):
        Split("imagenet", "test", "classification")


def test_the_classes_are_the_datasets(prepared):
    classes = (prepared / "data/textures/classes.txt").read_text().splitlines()
    assert read_classes("imagenet") == classes
    assert read_classes("voc")[0] == "background"


def test_lines_end_with_a_newline(tmp_path):
    write_lines(tmp_path / "a.txt", ["é", "b"])
    assert (tmp_path / "a.txt").read_bytes() == "é\nb\n".encode()


def test_the_first_images_of_a_split_are_a_split(prepared):
    whole = Split("imagenet", "val", "classification")
    first = whole.first(3)
    assert len(first) == 3 and first.names == whole.names[:3]
    np.testing.assert_array_equal(first.images(1, 3), whole.images(1, 3))
    np.testing.assert_array_equal(first.labels(), whole.labels()[:3])
    assert len(whole.first(99)) == len(whole.first(3).first(99)) + 7 == 10
