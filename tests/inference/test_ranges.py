"""Ranges of images, and their predictions on a cluster."""

import pickle
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import in_process
from helpers.folders import file_contents
from helpers.params import MEAN, STD
from helpers.refusals import refused

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference import ranges
from parity.inference.ranges import Batch, Ranges, Recipe
from parity.inference.resume import unfinished
from parity.inference.runner import predict
from parity.preprocessing.splits import Split
from stages import infer_exact, infer_onnxruntime, infer_opencv, infer_pytorch

process = pytest.mark.process
CLASSIFICATION, SEGMENTATION = ("imagenet", "classification"), ("voc", "segmentation")


def recipe(batch_size: int = 4, load=in_process.load_mean_colours) -> Recipe:
    return Recipe(Path("data/predictions/any"), load, 3, batch_size, 2, MEAN, STD)


def predict_mine(load, of, cluster: str = "none") -> dict:
    """Predict in batches of 4 or 1; return the files."""
    profile, task = of
    out, folder = prediction_folder("mine", "pytorch"), unfinished_folder("mine", "pytorch")
    options = {"classes": 3, "keep_logits": 2, "mean": MEAN, "std": STD}
    options["batch_size"] = 4 if task == "classification" else 1
    with unfinished(out, folder, {}) as work:
        predict(load, Split(profile, "val", task), work, cluster=cluster, **options)
    return file_contents(out)


# Cutting


def cut(images: int, workers: int, first: int = 0, took: list[Batch] | None = None) -> list:
    found, cutter = [], Ranges(SimpleNamespace(workers=workers), recipe(), first, images)
    for one in cutter:
        found.append((one.start, one.stop))
        if took:
            cutter.learn(took)
    return found


def batch(seconds: float, nbytes: int = 4) -> Batch:
    return Batch(0, 4, np.empty(nbytes, np.uint8), (4, 3), seconds)


def test_a_range_is_one_batch_until_one_is_done():
    assert cut(10, 1) == [(0, 4), (4, 8), (8, 10)]


def test_ranges_take_their_time_and_get_shorter_towards_the_end():
    lengths = [stop - start for start, stop in cut(10_000, 2, took=[batch(1.0)])]
    assert lengths[0] == 4 and lengths[1] == 4 * ranges.RANGE_S and lengths[-1] == 4
    assert lengths[2:] == sorted(lengths[2:], reverse=True)


def test_a_slow_batch_or_a_large_result_is_a_range_of_its_own():
    assert set(np.diff(cut(400, 1, took=[batch(100.0)]))[:, 0]) == {4}
    assert set(np.diff(cut(400, 1, took=[batch(0.1, 10**9)]))[:, 0]) == {4}


def test_ranges_hold_every_image_once_and_begin_at_whole_batches():
    found = cut(1003, 3, first=8, took=[batch(3.0)])
    assert found[0][0] == 8 and found[-1][1] == 1003
    assert all(stop == start for (_, stop), (start, _) in pairwise(found))
    assert not any(start % 4 for start, _ in found)


# On a cluster


@process
@pytest.mark.parametrize("of", [CLASSIFICATION, SEGMENTATION])
def test_a_cluster_predicts_the_same_bytes(prepared, on_cluster, monkeypatch, of):
    load = in_process.load_mean_colours if of == CLASSIFICATION else in_process.load_coloured
    there = predict_mine(load, of)
    monkeypatch.delenv("CLUSTER")
    assert there == predict_mine(load, of) and there


@process
def test_the_stages_write_the_same_bytes_on_a_cluster(converted, on_cluster, monkeypatch):
    stages = (infer_pytorch, infer_onnxruntime, infer_opencv, infer_exact)

    def predictions() -> dict:
        for stage in stages:
            stage.main(["squeezenet1_1"])
        return file_contents(Path("data/predictions"))

    there = predictions()
    monkeypatch.delenv("CLUSTER")
    assert there == predictions() and len(there) == len(stages)


@process
def test_a_crash_is_the_same_failure_and_the_worker_stays(prepared, on_cluster, monkeypatch):
    load = partial(IsolatedForward, in_process.load_crashing, limit_s=20)
    found = []
    for _ in range(2):
        with pytest.raises(BackendFailure) as failure:
            predict_mine(load, CLASSIFICATION)
        found.append(failure.value.content())
        monkeypatch.delenv("CLUSTER", raising=False)
    assert found[0] == found[1] and found[0]["kind"] == "crashed"
    monkeypatch.undo()


@process
def test_what_was_done_before_a_failure_is_kept_for_the_next_run(prepared, on_cluster, capsys):
    load = partial(in_process.load_failing_without, str(prepared / "mended"))
    with refused("mended: not there"):
        predict_mine(load, CLASSIFICATION)
    (prepared / "mended").touch()
    there = predict_mine(load, CLASSIFICATION)
    assert "resuming after" in capsys.readouterr().err
    assert there == predict_mine(in_process.load_mean_colours, CLASSIFICATION)


def test_a_split_is_pickled_without_its_names(prepared):
    split = Split("imagenet", "val", "classification").first(3)
    content = pickle.dumps(split)
    assert split.names[0].encode() not in content
    assert pickle.loads(content).names == split.names
