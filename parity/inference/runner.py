"""Run a backend over the val split of a model's data, resuming an interrupted run."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from parity.backends.contract import BackendFailure, Forward, failure_text
from parity.core.cli import log
from parity.core.cluster import NONE, open_cluster
from parity.core.files import full_disk_refused, write_text
from parity.core.fingerprints import digest, fingerprint, stamp
from parity.core.machine import machine
from parity.core.params import ModelParams, Params, count_kept
from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference.predictions import ABSENT, EXACT, LogitsWriter, MaskWriter, write_failure
from parity.inference.ranges import Recipe, compute_here, compute_on
from parity.inference.resume import Unfinished, unfinished
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split, read_classes


def run_backend(
    backend: str,
    name: str,
    model: ModelParams,
    params: Params,
    load: Callable[[], Forward],
    inputs: Mapping[str, object],
    *,
    failure_is_result: bool,
) -> None:
    """Run a model in a backend over the val split and write its predictions.

    `load` returns the function from blob to logits; on a cluster it is pickled. `inputs` names what
    that function depends on apart from code, libraries and machine: an interrupted run resumes only
    if all are unchanged.
    With `failure_is_result` a BackendFailure is written in place of the predictions, else it is
    raised.
    """
    split = Split(model.preprocess, "val", model.task)
    options = {
        "classes": len(read_classes(model.preprocess)),
        "batch_size": params.inference.batch_size.of(model.task),
        "keep_logits": count_kept(params.parity.images.of(model.task), len(split)),
        **read_normalization(model.preprocess),
    }
    with _resumable(backend, name, split, inputs, options) as work:
        try:
            predict(load, split, work, cluster=params.cluster, **options)
        except BackendFailure as failure:
            if not failure_is_result:
                raise
            work.clear()
            write_failure(work.folder, failure)
            log(f"{name}: {failure_text(backend, failure.content())}")


def run_exact(
    name: str,
    model: ModelParams,
    images: int,
    batch_size: int,
    load: Callable[[], Forward],
    inputs: Mapping[str, object],
    cluster: str = NONE,
) -> None:
    """Compute a model's exact answer to the first `images` val images and write it.

    `load` returns the function from blob to float64 logits; `inputs` is as for `run_backend`, and
    `cluster` is that of params.yaml. A BackendFailure leaves its reason in place of the answer.
    """
    # Whole batches, for a file that takes no others.
    split = Split(model.preprocess, "val", model.task).first(-(-images // batch_size) * batch_size)
    options = {
        "classes": len(read_classes(model.preprocess)),
        "batch_size": batch_size,
        "keep_logits": len(split),
        "dtype": np.float64,
        **read_normalization(model.preprocess),
    }
    with _resumable(EXACT, name, split, inputs, options) as work:
        try:
            predict(load, split, work, cluster=cluster, **options)
        except BackendFailure as failure:
            work.clear()
            reason = " ".join(str(failure).split())
            write_text(work.folder / ABSENT, f"{reason}\n")
            log(f"{name}: no exact answer: {reason}")


@contextmanager
def _resumable(
    backend: str,
    name: str,
    split: Split,
    inputs: Mapping[str, object],
    options: Mapping[str, object],
) -> Iterator[Unfinished]:
    """Yield the unfinished predictions of an interrupted run on the same inputs, or none; on
    success they become the predictions."""
    reached = fingerprint(f"stages.infer_{backend}")
    depends = {
        "images": digest([split.names, *map(stamp, split.image_files())]),
        "code": digest(reached["code"]),
        "libraries": reached["libraries"],
        "machine": machine(),
        **inputs,
        **options,
    }
    out, folder = prediction_folder(name, backend), unfinished_folder(name, backend)
    with unfinished(out, folder, {key: str(value) for key, value in depends.items()}) as work:
        yield work


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
    dtype: type = np.float32,
    cluster: str = NONE,
) -> None:
    """Run a backend over the remaining images of a split and write its predictions, in constant
    memory.

    `load` returns the backend's forward pass; it is called only if images remain. For the other
    parameters see `ranges.Recipe`. The workers of `cluster`, as params.yaml has it, compute, and
    this process alone writes.
    Raises BackendFailure of kind `shape` when the outputs do not fit the blob and `classes`,
    InputError when the disk is full, and what `open_cluster` and `Cluster.results` raise.
    """
    if split.task == "classification":
        writer = LogitsWriter(work.folder, split, classes, dtype)
    else:
        writer = MaskWriter(work.folder, split, keep_logits)
    if not (0 <= work.done <= len(split) and writer.resume(work.done, work.checksum)):
        log(f"{work.folder}: not as they were written; starting over")
        work.done = 0
    before, remaining = work.done, len(split) - work.done
    if not remaining:
        writer.close()
        log(f"{work.target}: all {len(split)} images were done already")
        return

    def shortage() -> str:
        needed = f"about {writer.missing_bytes(work.done) / 1e6:.3f} MB needed"
        return f"{needed} for {len(split) - work.done} images; the other {work.done} are kept"

    load_s = 0.0

    def load_and_time() -> Forward:
        nonlocal load_s
        start = time.perf_counter()
        forward = load()
        load_s = time.perf_counter() - start
        return forward

    recipe = Recipe(work.target, load, classes, batch_size, keep_logits, mean, std, dtype)
    began, forward_s = time.perf_counter(), 0.0
    bar = tqdm(total=len(split), initial=before, desc=str(work.target), unit="image", disable=None)
    with bar, full_disk_refused(work.folder, shortage), open_cluster(cluster) as workers:
        if workers is None:
            computed = compute_here(replace(recipe, load=load_and_time), split, before)
        else:
            computed = compute_on(workers, recipe, split, before)
        with closing(computed):
            for batch in computed:
                writer.write_kept(batch.start, batch.kept)
                work.save(batch.stop, writer.sync)
                forward_s += batch.seconds
                bar.update(batch.stop - batch.start)
        writer.close()
        count = workers.workers if workers else 1
        how = f"on {count} workers" if workers else f"after {load_s:.1f} s to load"
    seconds = time.perf_counter() - began - load_s
    share = forward_s / seconds / count
    log(
        f"{work.target}: {len(split)} images{f', {remaining} of them now' if before else ''}, "
        f"last output {batch.shape}; {seconds:.1f} s {how}, {100 * share:.0f} % in forward passes"
    )
