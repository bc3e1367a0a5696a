import os
import re
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.inference import mean_colours, predict_with
from helpers.params import MEAN, STD, write_params
from helpers.refusals import refused

from parity.backends.onnxruntime import load_onnxruntime
from parity.core.files import write_json
from parity.core.fingerprints import fingerprint
from parity.core.params import BackendParams
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference import runner
from parity.inference.predictions import read_logits
from parity.inference.resume import unfinished
from parity.inference.runner import predict
from parity.preprocessing.splits import Split, write_lines
from stages import infer_onnxruntime, infer_opencv, infer_pytorch

OUT = prediction_folder("squeezenet1_1", "onnxruntime")
FOLDER = unfinished_folder("squeezenet1_1", "onnxruntime")


def test_the_batch_size_changes_nothing_but_the_batches(prepared):
    split = Split("imagenet", "val", "classification")
    seen = []

    def forward(blob):
        seen.append(len(blob))
        return mean_colours(blob)

    predict_with(forward, split, "pytorch", batch_size=3)
    predict_with(forward, split, "opencv", batch_size=99)
    assert seen == [3, 3, 3, 1, 10]
    np.testing.assert_allclose(
        read_logits("mine", "pytorch", 0, 10), read_logits("mine", "opencv", 0, 10), atol=1e-6
    )


@pytest.mark.parametrize(
    ("profile", "task", "forward", "expected"),
    [
        ("imagenet", "classification", lambda blob: np.zeros((len(blob), 5)), (4, 5)),
        ("imagenet", "classification", lambda blob: np.zeros((1, 3)), (1, 3)),
        ("imagenet", "classification", lambda blob: blob, (4, 3, 64, 64)),
        ("voc", "segmentation", lambda blob: blob[:, :2], (1, 2)),
        ("voc", "segmentation", lambda blob: blob[:, :, ::8, ::8], (1, 3)),
        ("voc", "segmentation", lambda blob: blob[0, 0], ()),
    ],
)
def test_outputs_of_a_wrong_shape_are_refused_and_leave_nothing(
    prepared, profile, task, forward, expected
):
    found = str(expected).rstrip(")")
    with refused("data/predictions/mine/pytorch: the model's output is", found, "3 classes"):
        predict_with(forward, Split(profile, "val", task))
    assert not (prepared / "data/predictions").exists()
    assert not (prepared / "data/unfinished").exists()


def test_the_share_of_forward_passes_leaves_out_the_time_to_load(prepared, capsys):
    def load():
        time.sleep(0.6)
        return lambda blob: time.sleep(0.2) or mean_colours(blob)

    split, options = Split("imagenet", "val", "classification"), {"batch_size": 5, "keep_logits": 2}
    out, folder = prediction_folder("mine", "pytorch"), unfinished_folder("mine", "pytorch")
    with unfinished(out, folder, {}) as work:
        predict(load, split, work, classes=3, mean=MEAN, std=STD, **options)
    shown = r"; ([\d.]+) s after ([\d.]+) s to load, (\d+) % in forward passes"
    seconds, loading, share = map(float, re.search(shown, capsys.readouterr().err).groups())
    assert loading >= 0.6
    assert share >= 100 * 0.4 / (seconds + 0.1)


def test_a_run_that_fails_leaves_the_earlier_predictions(prepared):
    split = Split("imagenet", "val", "classification")
    predict_with(mean_colours, split)
    before = read_logits("mine", "pytorch", 0, 10)
    with refused("5 classes"):
        predict_with(mean_colours, split, classes=5)
    np.testing.assert_array_equal(read_logits("mine", "pytorch", 0, 10), before)


def test_an_onnx_model_with_another_number_of_outputs_is_refused(converted):
    split = Split("imagenet", "val", "classification")
    forward = load_onnxruntime(converted / "dynamo.onnx", BackendParams(threads=0))
    with refused("output is (4, 10); expected (4, 21): 21 classes for a blob of (4, 3, 64, 64)"):
        predict_with(forward, split, classes=21)


def test_the_three_stages_predict_the_same(converted):
    write_params(converted, {"inference.batch_size.classification": 3})
    for stage in (infer_pytorch, infer_onnxruntime, infer_opencv):
        stage.main(["squeezenet1_1"])
    reference = read_logits("squeezenet1_1", "pytorch", 0, 10)
    assert reference.shape == (10, 10) and np.abs(reference).max() > 0.01
    for backend in ("onnxruntime", "opencv"):
        logits = read_logits("squeezenet1_1", backend, 0, 10)
        np.testing.assert_allclose(logits, reference, atol=1e-5 * np.abs(reference).max())


# Resuming


def touch(path: str) -> None:
    os.utime(path, ns=(1, 1))


VAL = "data/preprocessed/imagenet/val"
MEAN_FILE = Path("data/transforms/imagenet/normalization.json")


def change_fingerprint(patch: pytest.MonkeyPatch, part: str) -> None:
    changed = fingerprint("stages.infer_onnxruntime") | {part: {"any": "other"}}
    patch.setattr(runner, "fingerprint", lambda _: changed)


CHANGES = {
    "nothing": (lambda root, patch: None, None),
    "another stage": (lambda root, patch: write_params(root, {"export.opset": 17}), None),
    "batch size": (
        lambda root, patch: write_params(root, {"inference.batch_size.classification": 5}),
        "batch_size",
    ),
    "threads": (lambda root, patch: write_params(root, {"onnxruntime.threads": 1}), "onnxruntime"),
    "model": (lambda root, patch: touch("models/squeezenet1_1/model.onnx"), "model"),
    "images": (lambda root, patch: touch(f"{VAL}/images.npy"), "images"),
    "names": (lambda root, patch: write_lines(Path(VAL, "names.txt"), "abcdefghij"), "images"),
    "mean": (lambda root, patch: write_json(MEAN_FILE, {"mean": STD, "std": STD}), "mean"),
    "library": (lambda root, patch: change_fingerprint(patch, "libraries"), "libraries"),
    "code": (lambda root, patch: change_fingerprint(patch, "code"), "code"),
    "machine": (lambda root, patch: patch.setattr(runner, "machine", lambda: "0"), "machine"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES)
def test_a_run_resumes_unless_a_dependency_changed(converted, monkeypatch, capsys, change, named):
    calls = []

    def first_batch_alone(blob: np.ndarray) -> np.ndarray:
        if calls:
            raise KeyboardInterrupt
        calls.append(blob)
        return np.zeros((len(blob), 10), np.float32)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(infer_onnxruntime, "load_onnxruntime", lambda *_: first_batch_alone)
        infer_onnxruntime.main(["squeezenet1_1"])
    assert (FOLDER / "progress.json").exists()

    change(converted, monkeypatch)
    infer_onnxruntime.main(["squeezenet1_1"])
    log = capsys.readouterr().err
    resumes = f"{FOLDER}: resuming after 4 images\n"
    starts_over = f"{FOLDER}: starting over; changed since: {named}\n"
    assert (resumes if named is None else starts_over) in log
    assert (np.load(OUT / "logits.npy")[:4] == 0).all() == (named is None)
    assert not Path("data/unfinished").exists()
