import numpy as np
from helpers.inference import blob_of, mean_colours, predict_with
from PIL import Image

from parity.core.class_ids import voc_palette
from parity.core.paths import prediction_folder
from parity.inference.predictions import (
    predicting_backends,
    read_logits,
    read_pixel_logits,
    read_predicted_mask,
    write_absence,
)
from parity.preprocessing.splits import Split


def test_the_logits_of_every_image_are_kept_in_order(prepared):
    split = Split("imagenet", "val", "classification")
    predict_with(mean_colours, split)
    expected = mean_colours(blob_of(split, 0, 10))
    stored = read_logits("mine", "pytorch", 0, 10)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, expected, atol=1e-6)
    np.testing.assert_array_equal(read_logits("mine", "pytorch", 3, 7), stored[3:7])


def test_every_image_has_a_mask_and_the_first_ones_keep_their_logits(prepared):
    split = Split("voc", "val", "segmentation")
    predict_with(lambda blob: blob, split, keep_logits=2)
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
    predict_with(lambda blob: blob, split)
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

    predict_with(last_class, split, classes=255, keep_logits=0)
    assert set(np.unique(read_predicted_mask("mine", "pytorch", split.names[0]))) == {254}


def test_an_absent_backend_has_no_predictions(prepared):
    split = Split("imagenet", "val", "classification")
    for backend in ("onnxruntime", "opencv"):
        predict_with(mean_colours, split, backend)
    write_absence("mine", "pytorch", "there is no PyTorch network")
    assert predicting_backends("mine") == ("onnxruntime", "opencv")
