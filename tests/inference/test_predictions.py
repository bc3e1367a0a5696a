import numpy as np
import pytest
from helpers.params import MEAN, STD, write_params
from helpers.refusals import refused
from PIL import Image

from parity.backends.onnxruntime import load_onnxruntime
from parity.core.class_ids import voc_palette
from parity.core.params import BackendParams
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference.predictions import read_logits, read_pixel_logits, read_predicted_mask
from parity.inference.resume import unfinished
from parity.inference.runner import predict
from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split
from stages import infer_onnxruntime, infer_opencv, infer_pytorch


def mean_colours(blob: np.ndarray) -> np.ndarray:
    """A classifier of three classes: how much of each colour there is."""
    return blob.mean(axis=(2, 3))


def run(logits_of, split: Split, backend: str = "pytorch", **changes) -> None:
    options = {"classes": 3, "batch_size": 4, "keep_logits": 2, "mean": MEAN, "std": STD}
    if split.task == "segmentation":
        options["batch_size"] = 1
    out, folder = prediction_folder("mine", backend), unfinished_folder("mine", backend)
    with unfinished(out, folder, {}) as work:
        predict(lambda: logits_of, split, work, **(options | changes))


def blob_of(split: Split, start: int, stop: int) -> np.ndarray:
    return normalize(split.images(start, stop), MEAN, STD)


def test_the_logits_of_every_image_are_kept_in_order(prepared):
    split = Split("imagenet", "val", "classification")
    run(mean_colours, split)
    expected = mean_colours(blob_of(split, 0, 10))
    stored = read_logits("mine", "pytorch", 0, 10)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, expected, atol=1e-6)
    np.testing.assert_array_equal(read_logits("mine", "pytorch", 3, 7), stored[3:7])


def test_the_batch_size_changes_nothing_but_the_batches(prepared):
    split = Split("imagenet", "val", "classification")
    seen = []

    def logits_of(blob):
        seen.append(len(blob))
        return mean_colours(blob)

    run(logits_of, split, "pytorch", batch_size=3)
    run(logits_of, split, "opencv", batch_size=99)
    assert seen == [3, 3, 3, 1, 10]
    np.testing.assert_allclose(
        read_logits("mine", "pytorch", 0, 10), read_logits("mine", "opencv", 0, 10), atol=1e-6
    )


def test_masks_of_every_image_and_the_logits_of_the_first_are_kept(prepared):
    split = Split("voc", "val", "segmentation")
    run(lambda blob: blob, split, keep_logits=2)
    folder = prediction_folder("mine", "pytorch")
    assert sorted(path.stem for path in (folder / "masks").iterdir()) == split.names
    assert sorted(path.stem for path in (folder / "logits").iterdir()) == split.names[:2]
    for index, name in enumerate(split.names):
        blob = blob_of(split, index, index + 1)
        mask = read_predicted_mask("mine", "pytorch", name)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, blob[0].argmax(axis=0))
        if index < 2:
            np.testing.assert_array_equal(read_pixel_logits("mine", "pytorch", name), blob[0])


def test_a_mask_is_a_picture_in_the_colours_of_voc(prepared):
    split = Split("voc", "val", "segmentation")
    run(lambda blob: blob, split)
    path = prediction_folder("mine", "pytorch") / "masks" / f"{split.names[0]}.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))
    mask = read_predicted_mask("mine", "pytorch", split.names[0])
    np.testing.assert_array_equal(colours, voc_palette(256)[mask])


def test_255_classes_fit_a_mask(prepared):
    split = Split("voc", "val", "segmentation")

    def last_class(blob):
        logits = np.zeros((1, 255, *blob.shape[2:]), np.float32)
        logits[:, 254] = 1
        return logits

    run(last_class, split, classes=255, keep_logits=0)
    assert set(np.unique(read_predicted_mask("mine", "pytorch", split.names[0]))) == {254}


@pytest.mark.parametrize(
    ("profile", "task", "output", "expected"),
    [
        ("imagenet", "classification", lambda blob: np.zeros((len(blob), 5)), (4, 5)),
        ("imagenet", "classification", lambda blob: np.zeros((1, 3)), (1, 3)),
        ("imagenet", "classification", lambda blob: blob, (4, 3, 64, 64)),
        ("voc", "segmentation", lambda blob: blob[:, :2], (1, 2)),
        ("voc", "segmentation", lambda blob: blob[:, :, ::8, ::8], (1, 3)),
        ("voc", "segmentation", lambda blob: blob[0, 0], ()),
    ],
)
def test_outputs_that_do_not_fit_are_refused_and_leave_nothing(
    prepared, profile, task, output, expected
):
    found = str(expected).rstrip(")")
    with refused("data/predictions/mine/pytorch: the model's output is", found, "3 classes"):
        run(output, Split(profile, "val", task))
    assert not (prepared / "data/predictions").exists()
    assert not (prepared / "data/unfinished").exists()


def test_a_run_that_fails_leaves_the_predictions_of_the_one_before(prepared):
    split = Split("imagenet", "val", "classification")
    run(mean_colours, split)
    before = read_logits("mine", "pytorch", 0, 10)
    with refused("5 classes"):
        run(mean_colours, split, classes=5)
    np.testing.assert_array_equal(read_logits("mine", "pytorch", 0, 10), before)


def test_an_onnx_model_with_another_number_of_outputs_is_refused(converted):
    split = Split("imagenet", "val", "classification")
    logits_of = load_onnxruntime(converted / "dynamo.onnx", BackendParams(threads=0))
    with refused("output is (4, 10); expected (4, 21): 21 classes for a blob of (4, 3, 64, 64)"):
        run(logits_of, split, classes=21)


def test_the_three_stages_predict_the_same(converted):
    write_params(converted, {"inference.batch_size.classification": 3})
    for stage in (infer_pytorch, infer_onnxruntime, infer_opencv):
        stage.main(["squeezenet1_1"])
    reference = read_logits("squeezenet1_1", "pytorch", 0, 10)
    assert reference.shape == (10, 10) and np.abs(reference).max() > 0.01
    for backend in ("onnxruntime", "opencv"):
        logits = read_logits("squeezenet1_1", backend, 0, 10)
        np.testing.assert_allclose(logits, reference, atol=1e-5 * np.abs(reference).max())
