"""The bundle of an entry of `models`, from the results of `make`."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from parity.backends.opencv import check_opencv
from parity.bundle.content import Content, Example, Unproven, answer, choose
from parity.bundle.device import answer_of, read_usage, settings_flags
from parity.core.cli import InputError
from parity.core.params import Params, entry, of_model, setting_key
from parity.core.paths import dataset_path, mended_path, profile_folder
from parity.datasets.dataset import Dataset, Item
from parity.evaluation.results import read_results
from parity.evaluation.verdict import OWNERS, PASS, Verdict, verdict_of
from parity.inference.predictions import (
    images_with_logits,
    read_image_logits,
    read_logits,
    read_predicted_classes,
)
from parity.inference.reference import load_reference
from parity.networks.onnx_file import external_data_files, parse
from parity.preprocessing.images import normalize, read_image
from parity.preprocessing.profile import read_exif, read_normalization
from parity.preprocessing.splits import Split, read_classes, read_lines

SEARCHED = 1000  # images among which different answers are looked for


def content_of_model(name: str, everything: Params, images: int, force: bool) -> Content:
    """Return what the bundle of a model holds, with the first `images` that differ in answer.

    Raises Unproven, with the verdict, for a model that does not pass, unless forced.
    """
    params = of_model(everything, name)
    check_opencv(params.opencv, partial(setting_key, everything, name, "opencv"))
    results = read_results(name)
    verdict = verdict_of(results, params)
    passes = verdict.verdict == PASS
    if not (passes or force):
        raise Unproven(verdict_words(verdict))
    model, path = params.models[name], mended_path(name)
    examples = [*examples_of(name, params, results.reference, images)]
    usage = read_usage(path)
    flags = answer_of(path, examples[0].file, settings_flags(params.opencv)).flags
    return Content(
        model=name,
        task=model.task,
        onnx=path,
        data_files=external_data_files(path, parse(path)),
        flags=flags,
        preprocess=usage.preprocess,
        classes=read_classes(model.preprocess),
        reference=version_of(results.reference),
        opencv=params.opencv,
        rel=verdict.limits.rel,
        agreement=verdict.limits.agreement,
        examples=examples,
        verdict=verdict.verdict if passes else verdict_words(verdict),
        forced=not passes,
    )


def verdict_words(verdict: Verdict) -> str:
    """Return a verdict in one line."""
    reasons = [f"{one.words}; owner: {OWNERS[one.owner]}" for one in verdict.failures[:1]]
    return f"{verdict.verdict}: {'; '.join(reasons) or verdict.vacuous}"


def version_of(backend: str) -> str:
    """Return a backend with the version of its library."""
    return f"{backend} {importlib.metadata.version({'pytorch': 'torch'}.get(backend, backend))}"


def examples_of(name: str, params: Params, reference: str, images: int) -> Iterator[Example]:
    """Yield the chosen images, with their blob as every backend got it, and the logits that the
    reference gave; those that were not kept are computed again."""
    model = params.models[name]
    profile = entry(params, "preprocess", model.preprocess)
    split = Split(model.preprocess, "val", model.task)
    dataset = Dataset.load(dataset_path(profile.dataset))
    items = evaluated(dataset, split, dataset_path(profile.dataset))
    exif, normalization = read_exif(model.preprocess), read_normalization(model.preprocess)
    kept = images_with_logits(name, reference, split)
    forward = None
    for index in choose(answers(name, reference, split, max(kept, images)), images):
        file = Path(dataset.root) / items[index].image
        blob = normalize(split.images(index, index + 1), **normalization)
        if index < kept:
            logits = read_image_logits(name, reference, split, index)
            logits = logits if split.task == "classification" else logits[None]
        else:
            forward = forward or load_reference(name, params).forward
            logits = forward(blob)
        yield Example(file, read_image(file, exif), blob, logits)


def answers(name: str, reference: str, split: Split, most: int) -> Iterator[frozenset[int]]:
    """Yield the classes with which the reference answers the first images."""
    most = min(most, len(split), SEARCHED)
    if split.task == "classification":
        yield from map(answer, read_logits(name, reference, 0, most)[:, None])
        return
    for image in split.names[:most]:
        yield frozenset(np.unique(read_predicted_classes(name, reference, image)).tolist())


def evaluated(dataset: Dataset, split: Split, path: Path) -> Sequence[Item]:
    """Return the entries of a dataset, which was read from `path`, behind the images of a split, in
    its order."""
    lines = read_lines(profile_folder(split.profile) / split.split / "skipped.txt")
    skipped = {line.partition(": ")[0] for line in lines}
    kept = [one for one in dataset.val if not {one.image, one.target} & skipped]
    if [one.name for one in kept] != split.names:
        raise InputError(f"{split.folder}: not of the images in {path}; `make` renews it")
    return kept
