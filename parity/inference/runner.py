"""Running a backend over the val split: what the infer_* stages share."""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

from parity.backends.contract import BackendFailure, Forward, failure_text
from parity.core.cli import log
from parity.core.files import full_disk_refused, new_directory, write_text
from parity.core.fingerprints import digest, fingerprint, stamp
from parity.core.machine import machine
from parity.core.params import ModelParams, Params, Task, entry, first, load_params
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference.predictions import ABSENT, LogitsWriter, MaskWriter, write_failure
from parity.inference.resume import Unfinished, unfinished
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split, read_classes


def infer(
    backend: str,
    load: Callable[[str, ModelParams, int, Params], Forward],
    inputs: Callable[[str, ModelParams, Params], dict[str, object]],
    argv: list[str] | None,
    absent: Callable[[ModelParams], str | None] = lambda model: None,
    may_fail: Callable[[ModelParams], bool] = lambda model: False,
) -> None:
    """Run the model named on the command line in one backend and write its predictions.

    `load` takes the model's name and entry, its number of classes and all params, and returns
    the function from blob to logits. `inputs` names what that function depends on, beside code
    and libraries: an interrupted run goes on where nothing of it has changed.
    `absent` returns why the backend has nothing to run, if so. `may_fail` tells whether what the
    backend could not do with the model is a result, which takes the place of the predictions.
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
    options = {
        "classes": classes,
        "batch_size": params.inference.batch_size.of(model.task),
        "keep_logits": first(params.parity.images.of(model.task), len(split)),
        **read_normalization(model.preprocess),
    }
    reached = fingerprint(f"stages.infer_{backend}")
    depends = {
        "images": digest([split.names, *map(stamp, split.image_files())]),
        "code": digest(reached["code"]),
        "libraries": reached["libraries"],
        "machine": machine(),
        **inputs(name, model, params),
        **options,
    }
    out, folder = prediction_folder(name, backend), unfinished_folder(name, backend)
    with unfinished(out, folder, {key: str(value) for key, value in depends.items()}) as work:
        try:
            predict(lambda: load(name, model, classes, params), split, work, **options)
        except BackendFailure as failure:
            if not may_fail(model):
                raise
            work.clear()
            write_failure(work.folder, failure)
            log(f"{name}: {failure_text(backend, failure.content())}")


def predict(
    load: Callable[[], Forward],
    split: Split,
    work: Unfinished,
    *,
    classes: int,
    batch_size: int,
    keep_logits: int,
    mean: list[float],
    std: list[float],
) -> None:
    """Run a backend over what is left of a split and write what it predicts, in constant memory.

    `load` returns the backend's forward pass and is not called where nothing is left; one that is a
    context manager is closed at the end.
    `keep_logits` is the number of images of a segmentation that keep their logits.
    Raises BackendFailure of kind `shape` when the outputs do not fit the blob and `classes`, and
    InputError when the disk is full.
    """
    if split.task == "classification":
        writer = LogitsWriter(work.folder, split, classes)
    else:
        writer = MaskWriter(work.folder, split, keep_logits)
    if not writer.holds(work.done):
        work.done = 0
    before, left = work.done, len(split) - work.done
    if not left:
        writer.close()
        log(f"{work.target}: {len(split)} images, none left to run")
        return
    loaded = load()

    def shortage() -> str:
        needed = f"about {writer.missing_bytes(work.done) / 1e6:.3f} MB needed"
        return f"{needed} for {len(split) - work.done} images; the other {work.done} are kept"

    began, forward_s = time.perf_counter(), 0.0
    blob = None
    bar = tqdm(total=len(split), initial=before, desc=str(work.target), unit="image", disable=None)
    open_forward = loaded if isinstance(loaded, AbstractContextManager) else nullcontext(loaded)
    with bar, full_disk_refused(work.folder, shortage), open_forward as forward:
        for start, stop in split.batches(batch_size, before):
            blob = normalize(split.images(start, stop), mean, std, out=blob)
            called = time.perf_counter()
            logits = forward(blob)
            forward_s += time.perf_counter() - called
            _check_shape(work.target, split.task, blob, logits, classes)
            writer.write(start, logits)
            work.save(stop, writer.sync)
            bar.update(stop - start)
        writer.close()
    seconds = time.perf_counter() - began
    log(
        f"{work.target}: {len(split)} images{f', {left} of them now' if before else ''}, "
        f"the last output {logits.shape}; {seconds:.1f} s, "
        f"{100 * forward_s / seconds:.0f} % of it forward passes"
    )


def _check_shape(out: Path, task: Task, blob: np.ndarray, logits: np.ndarray, classes: int) -> None:
    expected = (len(blob), classes)
    if task == "segmentation":
        expected += blob.shape[2:]
    if logits.shape != expected:
        wanted = f"expected {expected}: {classes} classes for a blob of {blob.shape}"
        message = f"{out}: the model's output is {logits.shape}; {wanted}"
        raise BackendFailure("shape", message)
