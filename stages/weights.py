"""Make a model's weights: a linear probe, random, torchvision's own, or a checkpoint."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torchvision.models import WeightsEnum, get_model_weights
from tqdm import tqdm

from parity.core.cli import InputError, log, run
from parity.core.files import new_file, write_json
from parity.core.fingerprints import stamp
from parity.core.params import PARAMS, ModelParams, Params, entry, load_params
from parity.core.paths import source_path, weights_path
from parity.networks.network import (
    Logits,
    build,
    check_name,
    factory_files,
    load_state,
    pick_output,
    published_weights,
    read_checkpoint,
)
from parity.networks.onnx_file import external_files, read_given
from parity.networks.probe import calibrate, damp_residuals, fit_head, seeded
from parity.networks.published import load_published, published_accuracy
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split, read_classes

Batch = tuple[torch.Tensor, torch.Tensor]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.weights", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model = entry(params, "models", name)
    classes = len(read_classes(model.preprocess))
    check_classes(name, model, classes)
    if model.onnx:
        take_onnx(name, Path(model.onnx).expanduser())
        return
    source = None
    if model.weights in ("probe", "random"):
        network = make(name, model, params, classes)
    else:
        state, source = published_or_own(name, model, classes)
        network = build(name, model, classes)
        load_state(network, state, str(source))
    check_output(name, model, network, classes)
    # DVC does not look at a file outside of the pipeline: its stamp tells when it has changed.
    files = {str(source): stamp(source)} if isinstance(source, Path) else {}
    if model.factory:
        files |= {str(code): stamp(code) for code in factory_files(name, model.factory)}
    published = published_accuracy(source) if isinstance(source, WeightsEnum) else None
    write_json(source_path(name), {"files": files, "published": published})
    with new_file(weights_path(name)) as partial, partial.open("wb") as file:
        torch.save(network.state_dict(), file)
    size = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    log(f"{name}: {size:.1f} million parameters, {classes} classes, weights: {model.weights}")


def check_classes(name: str, model: ModelParams, classes: int) -> None:
    """Raise InputError when an entry's `classes` are not those of its dataset."""
    if model.classes not in (None, classes):
        found = (
            f"found {model.classes}; the dataset of the profile {model.preprocess!r} has {classes}"
        )
        raise InputError(f"{PARAMS}: models.{name}.classes: {found}")


def take_onnx(name: str, path: Path) -> None:
    """Note the files of a model that is ONNX from the start: it holds its weights itself."""
    read_given(path)
    files = [path, *external_files(path)]
    stamps = {str(file): stamp(file) for file in files}
    write_json(source_path(name), {"files": stamps, "published": None})
    with new_file(weights_path(name)) as partial, partial.open("wb") as file:
        torch.save({}, file)
    log(f"{name}: {path}, which holds its weights")


def check_output(name: str, model: ModelParams, network: nn.Module, classes: int) -> None:
    """Raise InputError when a network gives no logits of the dataset's classes: one's own, or one
    that takes images of another size than the profile's."""
    image = Split(model.preprocess, "val", model.task).images(0, 1)
    blob = torch.from_numpy(normalize(image, **read_normalization(model.preprocess)))
    key = f"{PARAMS}: models.{name}"
    try:
        with torch.inference_mode():
            raw = network.eval()(blob)
    except Exception as error:  # of the user's code
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ran = f"the network cannot run a blob {tuple(blob.shape)}"
        raise InputError(f"{key}: {ran}: {reason}") from None
    try:
        logits = pick_output(raw, model.output)
    except (LookupError, TypeError):
        logits = None
    if not torch.is_tensor(logits):
        found = f"found {model.output!r}" if model.output is not None else "missing"
        raise InputError(f"{key}.output: {found}; the network gives {kind(raw)}: say which to take")
    expected = (1, classes) + (tuple(blob.shape[2:]) if model.task == "segmentation" else ())
    if tuple(logits.shape) != expected:
        found = f"the output is {tuple(logits.shape)} for a blob {tuple(blob.shape)}"
        raise InputError(
            f"{key}: {found}; expected {expected}, as the dataset has {classes} classes"
        )


def kind(output: object) -> str:
    """What a network returned, in words."""
    if torch.is_tensor(output):
        return f"one tensor {tuple(output.shape)}"
    if isinstance(output, dict):
        return f"a dict with the keys {', '.join(map(repr, output))}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


def make(name: str, model: ModelParams, params: Params, classes: int) -> nn.Module:
    """Build a network with seeded random weights; a probe's last layer is fitted as well."""
    train = Split(model.preprocess, "train", model.task)
    if model.weights == "probe" and len(train) < 2:
        raise InputError(
            f"{PARAMS}: models.{name}.weights: a probe is fitted to two or more train images; the "
            f"train list of the profile {model.preprocess!r} has {len(train)}; use `random` instead"
        )
    seeded(params.seed, name)
    network = build(name, model, classes)
    damp_residuals(network, params.probe.residual_scale)
    logits = Logits(network, model.output)
    # Statistics need no labels, so where there is no train list the val images serve.
    images = train if len(train) else Split(model.preprocess, "val", model.task)
    total = min(params.probe.calibration_images.of(model.task), len(images))
    calibrate(logits, (blob for blob, _ in batches(images, total, model, params, "calibrate")))
    if model.weights == "probe":
        labelled = batches(train, len(train), model, params, "fit")
        fit_head(logits, labelled, classes, params.probe.ridge)
    return network


def batches(
    split: Split, total: int, model: ModelParams, params: Params, what: str
) -> Iterator[Batch]:
    """Yield the first `total` images as blobs with targets, with a progress bar named `what`.

    Images of a segmentation are cut to their batch's common size.
    """
    normalization = read_normalization(model.preprocess)
    size = params.probe.batch_size.of(model.task)
    with tqdm(total=total, desc=what, unit="image", disable=None) as bar:
        start = 0
        while start < total:
            # No batch of one image: batch norm has no statistics of one value.
            stop = total if total - start <= size + 1 else start + size
            images, targets = split.cut_to_common_size(start, stop)
            blob = torch.from_numpy(normalize(images, **normalization))
            yield blob, torch.from_numpy(targets)
            bar.update(stop - start)
            start = stop


def published_or_own(
    name: str, model: ModelParams, classes: int
) -> tuple[dict, Path | WeightsEnum]:
    """Return the state dict that `weights` names, and its source: torchvision's or a file."""
    key, known = f"{PARAMS}: models.{name}.weights", ()
    if not model.factory:
        check_name(name, model.task)
        known = get_model_weights(name).__members__
    weights = published_weights(name, model)
    if weights is None:
        path = Path(model.weights).expanduser()
        if path.exists():
            return read_checkpoint(path, model.checkpoint_key), path
        names = ", ".join(("probe", "random", *known))
        raise InputError(
            f"{key}: found {model.weights!r}, which is no file; expected one of {names} or the "
            "path of a checkpoint"
        )
    if weights.meta["categories"] is None:
        others = ", ".join(other for other in known if other != weights.name)
        raise InputError(f"{key}: {weights} has no classifier; expected one of {others}")
    outputs = len(weights.meta["categories"])
    if outputs != classes:
        raise InputError(
            f"{key}: {weights} has {outputs} outputs; the dataset of the profile "
            f"{model.preprocess!r} has {classes} classes"
        )
    return load_published(name, weights), weights


if __name__ == "__main__":
    run(main)
