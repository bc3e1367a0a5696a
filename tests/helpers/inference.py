"""Inference with a function in place of a backend."""

from collections.abc import Callable

import numpy as np

from helpers.params import MEAN, STD
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference.resume import unfinished
from parity.inference.runner import predict
from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split


def mean_colours(blob: np.ndarray) -> np.ndarray:
    """A classifier of three classes: how much of each colour there is."""
    return blob.mean(axis=(2, 3))


def predict_with(
    forward: Callable[[np.ndarray], np.ndarray],
    split: Split,
    backend: str = "pytorch",
    **changes: object,
) -> None:
    """Write the predictions of the model `mine`, three classes unless `changes` says otherwise."""
    options = {"classes": 3, "batch_size": 4, "keep_logits": 2, "mean": MEAN, "std": STD}
    if split.task == "segmentation":
        options["batch_size"] = 1
    out, folder = prediction_folder("mine", backend), unfinished_folder("mine", backend)
    with unfinished(out, folder, {}) as work:
        predict(lambda: forward, split, work, **(options | changes))


def blob_of(split: Split, start: int, stop: int) -> np.ndarray:
    return normalize(split.images(start, stop), MEAN, STD)
