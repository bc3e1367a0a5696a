"""Score every backend of a model against the truth, and the backends against each other."""

import argparse
from collections.abc import Callable

import numpy as np

from parity.backends.contract import BACKENDS, failure_text, pairs_of
from parity.core.class_ids import predicted_classes
from parity.core.cli import log, run
from parity.core.files import new_file, write_json, write_text
from parity.core.params import entry, first, load_params
from parity.core.paths import confusion_path, log_path, metrics_path
from parity.evaluation.messages import nonfinite_text
from parity.evaluation.scores import ClassificationScores, Parity, SegmentationScores
from parity.inference.predictions import (
    count_nonfinite_images,
    predicting_backends,
    read_failures,
    read_logits,
    read_pixel_logits,
    read_predicted_classes,
)
from parity.preprocessing.splits import Split, read_classes


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.evaluate", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model = entry(params, "models", name)
    batch_size = params.inference.batch_size.of(model.task)
    split = Split(model.preprocess, "val", model.task)
    compared = first(params.parity.images.of(model.task), len(split))
    classes = len(read_classes(model.preprocess))

    score = evaluate_classification if model.task == "classification" else evaluate_segmentation
    lines = [f"{name}: {model.task}, {len(split)} images, {classes} classes"]
    scores, parity = score(name, split, classes, batch_size, compared, lines.append)
    metrics = {"images": len(split)}
    metrics |= {
        backend: one.scores() | {"nonfinite": one.nonfinite} for backend, one in scores.items()
    }
    metrics["parity"] = {pair: one.scores() for pair, one in parity.items()}
    if failures := read_failures(name):
        metrics["failures"] = failures
    results = summary(metrics)

    with new_file(confusion_path(name)) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **{backend: one.confusion for backend, one in scores.items()})
    write_text(log_path(name), "\n".join([*lines, *results]) + "\n")
    write_json(metrics_path(name), metrics)
    log("\n".join([lines[0], *results]))


def evaluate_classification(
    name: str,
    split: Split,
    classes: int,
    batch_size: int,
    compared: int,
    note: Callable[[str], None],
) -> tuple[dict, dict]:
    """Return the scores by backend and the parity by pair; `note` gets a line a batch.

    `compared` is the number of images whose logits are compared.
    """
    scores = {backend: ClassificationScores(classes) for backend in predicting_backends(name)}
    pairs = pairs_of(scores)
    parity = {pair: Parity() for pair in pairs}
    labels = split.labels()
    for start, stop in split.batches(batch_size):
        logits = {backend: read_logits(name, backend, start, stop) for backend in scores}
        for backend in scores:
            scores[backend].update(logits[backend], labels[start:stop])
        predicted = {backend: predicted_classes(values) for backend, values in logits.items()}
        rows = slice(max(compared - start, 0))
        for pair, (a, b) in pairs.items():
            parity[pair].update_classes(predicted[a], predicted[b])
            parity[pair].update_logits(logits[a][rows], logits[b][rows])
            parity[pair].update_ties(predicted[a], predicted[b], logits[b])
            parity[pair].update_spread(logits[b][rows])
        note(running(stop, len(split), scores, "acc@1"))
    return scores, parity


def evaluate_segmentation(
    name: str,
    split: Split,
    classes: int,
    batch_size: int,
    compared: int,
    note: Callable[[str], None],
) -> tuple[dict, dict]:
    """As `evaluate_classification`, by the pixels of each image.

    A pixel can be a tie only in an image that kept its logits. The spread is that of the images'
    mean logits, as images differ in size.
    """
    scores = {backend: SegmentationScores(classes) for backend in predicting_backends(name)}
    for backend in scores:
        scores[backend].nonfinite = count_nonfinite_images(name, backend)
    pairs = pairs_of(scores)
    parity = {pair: Parity() for pair in pairs}
    for index, image in enumerate(split.names):
        truth = split.mask(index)
        masks = {backend: read_predicted_classes(name, backend, image) for backend in scores}
        for backend in scores:
            scores[backend].update(masks[backend], truth)
        for pair, (a, b) in pairs.items():
            parity[pair].update_classes(masks[a], masks[b])
        if index < compared:
            logits = {backend: read_pixel_logits(name, backend, image) for backend in scores}
            for pair, (a, b) in pairs.items():
                parity[pair].update_logits(logits[a], logits[b])
                parity[pair].update_ties(masks[a], masks[b], logits[b], axis=0)
                parity[pair].update_spread(logits[b].mean(axis=(1, 2), dtype=np.float64)[None])
        if (index + 1) % batch_size == 0 or index + 1 == len(split):
            note(running(index + 1, len(split), scores, "pixel_acc"))
    return scores, parity


def running(done: int, total: int, scores: dict, key: str) -> str:
    """One line of the log: the score of each backend so far."""
    figures = "  ".join(f"{backend} {one.scores()[key]:.2f}" for backend, one in scores.items())
    return f"{done}/{total}  {key} %  {figures}"


def summary(metrics: dict) -> list[str]:
    """The lines that end the log: all scores, then all parities, then what is wrong."""
    lines, wrong = [f"{metrics['images']} images"], []
    for backend in (key for key in BACKENDS if key in metrics):
        scores = {key: value for key, value in metrics[backend].items() if key != "nonfinite"}
        figures = "  ".join(f"{key} {value:.2f} %" for key, value in scores.items())
        lines.append(f"{backend}: {figures}")
        if images := metrics[backend]["nonfinite"]:
            wrong.append(nonfinite_text(backend, images))
    for pair, parity in metrics["parity"].items():
        differences = "  ".join(f"{key} {parity[key]:.3g}" for key in ("l1", "linf", "rel"))
        agreement = f"agreement {parity['agreement']:.3f} %  ties {parity['ties']:.3f} %"
        lines.append(f"{pair}: {differences}  {agreement}  spread {parity['spread']:.3g}")
    wrong += [failure_text(*failed) for failed in metrics.get("failures", {}).items()]
    return lines + wrong


if __name__ == "__main__":
    run(main)
