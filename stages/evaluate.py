"""Score every backend of a model against the truth, and the backends against each other."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from parity.backends.contract import BACKENDS, PAIRS, failure_text, pairs_of, reference_of
from parity.core.class_ids import predicted_classes
from parity.core.cli import log, run
from parity.core.files import new_file, read_json, write_json, write_text
from parity.core.markdown import agreement_text
from parity.core.params import count_kept, load_params, of_model
from parity.core.paths import confusion_path, log_path, mending_path, metrics_path
from parity.evaluation.exactness import ExactSums, exactness_ratios
from parity.evaluation.messages import nonfinite_text
from parity.evaluation.scores import ClassificationScores, Parity, SegmentationScores
from parity.inference.predictions import (
    EXACT,
    count_nonfinite_images,
    images_with_logits,
    predicting_backends,
    read_absence,
    read_failures,
    read_image_logits,
    read_logits,
    read_pixel_logits,
    read_predicted_classes,
)
from parity.preprocessing.splits import Split, read_classes

SCORES = {"classification": ClassificationScores, "segmentation": SegmentationScores}
PROGRESS_METRICS = {"classification": "acc@1", "segmentation": "pixel_acc"}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.evaluate", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]
    batch_size = params.inference.batch_size.of(model.task)
    split = Split(model.preprocess, "val", model.task)
    compared = count_kept(params.parity.images.of(model.task), len(split))
    classes = len(read_classes(model.preprocess))

    scores = {backend: SCORES[model.task](classes) for backend in predicting_backends(name)}
    parity = {pair: Parity() for pair in pairs_of(scores)}
    add_images = add_logits if model.task == "classification" else add_masks
    lines = [f"{name}: {model.task}, {len(split)} images, {classes} classes"]
    for done in add_images(scores, parity, name, split, batch_size, compared):
        lines.append(progress_text(done, len(split), scores, PROGRESS_METRICS[model.task]))
    metrics = {"images": len(split)}
    for backend, found in scores.items():
        metrics[backend] = found.scores() | {"nonfinite": found.nonfinite}
    metrics["parity"] = {pair: asdict(found.scores()) for pair, found in parity.items()}
    metrics["exact"] = exactness(name, tuple(scores), split, compared)
    if mending := mending_of(name):
        metrics["mending"] = mending
    if failures := read_failures(name):
        metrics["failures"] = failures
    conclusion = conclusion_lines(metrics)

    with new_file(confusion_path(name)) as partial, partial.open("wb") as file:
        confusion = {backend: found.confusion for backend, found in scores.items()}
        np.savez_compressed(file, **confusion)
    write_text(log_path(name), "\n".join([*lines, *conclusion]) + "\n")
    write_json(metrics_path(name), metrics)
    log("\n".join([lines[0], *conclusion]))


def add_logits(
    scores: dict[str, ClassificationScores],
    parity: dict[str, Parity],
    name: str,
    split: Split,
    batch_size: int,
    compared: int,
) -> Iterator[int]:
    """Add a classification's images batch by batch; yield how many are done after each.

    Classes are compared of all images, logits of the first `compared`.
    """
    labels = split.labels()
    for start, stop in split.batches(batch_size):
        logits = {backend: read_logits(name, backend, start, stop) for backend in scores}
        for backend in scores:
            scores[backend].update(logits[backend], labels[start:stop])
        predicted = {backend: predicted_classes(values) for backend, values in logits.items()}
        rows = slice(max(compared - start, 0))
        for pair, sums in parity.items():
            a, b = PAIRS[pair]
            sums.update_classes(predicted[a], predicted[b])
            sums.update_logits(logits[a][rows], logits[b][rows])
            sums.update_ties(predicted[a], predicted[b], logits[b])
            sums.update_spread(logits[b][rows])
        yield stop


def add_masks(
    scores: dict[str, SegmentationScores],
    parity: dict[str, Parity],
    name: str,
    split: Split,
    batch_size: int,
    compared: int,
) -> Iterator[int]:
    """Add a segmentation's images one by one; yield how many are done after each batch.

    Only the first `compared` images kept their logits: pixels of others are never ties. As images
    differ in size, the spread is that of each image's mean logits.
    """
    for backend in scores:
        scores[backend].nonfinite = count_nonfinite_images(name, backend)
    for index, image in enumerate(split.names):
        truth = split.mask(index)
        masks = {backend: read_predicted_classes(name, backend, image) for backend in scores}
        for backend in scores:
            scores[backend].update(masks[backend], truth)
        for pair, sums in parity.items():
            a, b = PAIRS[pair]
            sums.update_classes(masks[a], masks[b])
        if index < compared:
            logits = {backend: read_pixel_logits(name, backend, image) for backend in scores}
            for pair, sums in parity.items():
                a, b = PAIRS[pair]
                sums.update_logits(logits[a], logits[b])
                sums.update_ties(masks[a], masks[b], logits[b], axis=0)
                sums.update_spread(logits[b].mean(axis=(1, 2), dtype=np.float64)[None])
        if (index + 1) % batch_size == 0 or index + 1 == len(split):
            yield index + 1


def exactness(name: str, backends: tuple[str, ...], split: Split, compared: int) -> dict:
    """Return how far each backend is from the exact answer, for metrics/<model>.json.

    Of a segmentation, the exact answer may be there for more images than the backends' logits.
    """
    if reason := read_absence(name, EXACT):
        return {"images": 0, "reason": reason}
    images = images_with_logits(name, EXACT, split)
    if split.task == "segmentation":
        images = min(images, compared)
    sums = {backend: ExactSums() for backend in backends}
    for index in range(images):
        exact = read_image_logits(name, EXACT, split, index)
        for backend in backends:
            sums[backend].update(read_image_logits(name, backend, split, index), exact)
    distances = {backend: found.distance() for backend, found in sums.items()}
    ratio = exactness_ratios(distances, reference_of(backends))
    figures = {backend: asdict(distance) for backend, distance in distances.items()}
    return {"images": images, **figures, "ratio": ratio}


def mending_of(name: str) -> dict | None:
    """Return which rules mended the file that OpenCV reads, how often, and whether each part of the
    proof holds; None for the exported file as it is."""
    found = read_json(mending_path(name))
    return {key: found[key] for key in ("rules", "proof")} if found.get("rules") else None


def progress_text(done: int, total: int, scores: dict, metric: str) -> str:
    figures = [f"{backend} {found.scores()[metric]:.2f}" for backend, found in scores.items()]
    return f"{done}/{total}  {metric} %  {'  '.join(figures)}"


def conclusion_lines(metrics: dict) -> list[str]:
    """Return the last lines of the log: all scores, then all parities, then what is wrong.

    Ties are left out: the gate's limit for `rel` decides whether they count.
    """
    lines, problems = [f"{metrics['images']} images"], []
    for backend in (key for key in BACKENDS if key in metrics):
        scores = {key: value for key, value in metrics[backend].items() if key != "nonfinite"}
        figures = "  ".join(f"{key} {value:.2f} %" for key, value in scores.items())
        lines.append(f"{backend}: {figures}")
        if images := metrics[backend]["nonfinite"]:
            problems.append(nonfinite_text(backend, images))
    for pair, parity in metrics["parity"].items():
        differences = "  ".join(f"{key} {parity[key]:.3g}" for key in ("l1", "linf", "rel"))
        agreement = f"agreement {agreement_text(parity['agreement'])} %"
        lines.append(f"{pair}: {differences}  {agreement}  spread {parity['spread']:.3g}")
    lines.append(exactness_line(metrics["exact"]))
    problems += [failure_text(*failure) for failure in metrics.get("failures", {}).items()]
    return lines + problems


def exactness_line(exact: dict) -> str:
    if not exact["images"]:
        return f"exactness unknown: {exact['reason']}"
    backends = [backend for backend in BACKENDS if backend in exact]
    figures = "  ".join(f"{backend} {exact[backend]['rms']:.3g}" for backend in backends)
    ratios = "".join(f"  {backend} {ratio:.3g}" for backend, ratio in exact["ratio"].items())
    plural = "" if exact["images"] == 1 else "s"
    text = f"rms from float64, {exact['images']} image{plural}: {figures}"
    return f"{text}; ratio:{ratios}" if ratios else text


if __name__ == "__main__":
    run(main)
