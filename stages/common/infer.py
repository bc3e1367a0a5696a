"""Running a backend over the val split: what the infer_* stages share."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.common.backends import Forward
from stages.common.cli import InputError, log
from stages.common.files import new_directory, write_text
from stages.common.images import normalize
from stages.common.params import ModelParams, Params, Task, entry, first, load_params
from stages.common.paths import prediction_folder
from stages.common.predictions import ABSENT, LogitsWriter, MaskWriter
from stages.common.store import Split, read_classes
from stages.common.transform import read_normalization


def infer(
    backend: str,
    load: Callable[[str, ModelParams, int, Params], Forward],
    argv: list[str] | None,
    absent: Callable[[ModelParams], str | None] = lambda model: None,
) -> None:
    """Run the model named on the command line in one backend and write its predictions.

    `load` takes the model's name and entry, its number of classes and all params, and returns
    the function from blob to logits. `absent` returns why the backend has nothing to run, if so.
    """
    parser = argparse.ArgumentParser(prog=f"stages.infer_{backend}")
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model = entry(params, "models", name)
    reason = absent(model)
    if reason:
        with new_directory(prediction_folder(name, backend)) as partial:
            write_text(partial / ABSENT, f"{reason}\n")
        log(f"{name}: {reason}")
        return
    classes = len(read_classes(model.preprocess))
    split = Split(model.preprocess, "val", model.task)
    predict(
        load(name, model, classes, params),
        split,
        prediction_folder(name, backend),
        classes=classes,
        batch_size=getattr(params.inference.batch_size, model.task),
        keep_logits=first(getattr(params.parity.images, model.task), len(split)),
        **read_normalization(model.preprocess),
    )


def predict(
    forward: Forward,
    split: Split,
    out: Path,
    *,
    classes: int,
    batch_size: int,
    keep_logits: int,
    mean: list[float],
    std: list[float],
) -> None:
    """Run a backend over a split and write what it predicts to `out`, in constant memory.

    `keep_logits` is the number of images of a segmentation that keep their logits.
    Raises InputError when the outputs do not fit the blob and `classes`.
    """
    began, forward_s = time.perf_counter(), 0.0
    blob = None
    bar = tqdm(total=len(split), desc=str(out), unit="image", disable=None)
    with bar, new_directory(out) as partial:
        if split.task == "classification":
            writer = LogitsWriter(partial, split, classes)
        else:
            writer = MaskWriter(partial, split, keep_logits)
        for start, stop in split.batches(batch_size):
            blob = normalize(split.images(start, stop), mean, std, out=blob)
            before = time.perf_counter()
            logits = forward(blob)
            forward_s += time.perf_counter() - before
            _check_shape(out, split.task, blob, logits, classes)
            writer.write(start, logits)
            bar.update(stop - start)
        writer.close()
    seconds = time.perf_counter() - began
    log(
        f"{out}: {len(split)} images, the last output {logits.shape}; "
        f"{seconds:.1f} s, {100 * forward_s / seconds:.0f} % of it forward passes"
    )


def _check_shape(out: Path, task: Task, blob: np.ndarray, logits: np.ndarray, classes: int) -> None:
    expected = (len(blob), classes)
    if task == "segmentation":
        expected += blob.shape[2:]
    if logits.shape != expected:
        wanted = f"expected {expected}: {classes} classes for a blob of {blob.shape}"
        raise InputError(f"{out}: the model's output is {logits.shape}; {wanted}")
