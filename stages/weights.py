"""Make a model's weights: a linear probe, random, torchvision's own, or a checkpoint."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torchvision.models import WeightsEnum
from tqdm import tqdm

from stages.common.cli import InputError, log, run
from stages.common.files import new_file, write_json
from stages.common.images import normalize
from stages.common.networks import (
    Logits,
    build,
    import_factory,
    load_state,
    pick_output,
    published_weights,
    read_checkpoint,
)
from stages.common.params import PARAMS, ModelParams, Params, entry, load_params
from stages.common.paths import source_path, weights_path
from stages.common.probe import calibrate, damp_residuals, fit_head, seeded
from stages.common.stamps import stamp
from stages.common.store import Split, read_classes
from stages.common.transform import read_normalization

# torchvision publishes them with the weights of another framework, and a layer that rescales.
RESCALED = ("googlenet", "inception_v3")

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
        state, source = published_or_own(name, model, params, classes)
        network = build(name, model, classes)
        load_state(network, state, str(source))
    check_output(name, model, network, classes)
    # DVC does not look at a file outside of the pipeline: its stamp tells when it has changed.
    files = {str(source): stamp(source)} if isinstance(source, Path) else {}
    if model.factory:
        code = factory_file(name, model.factory)
        files |= {str(code): stamp(code)} if code else {}
    write_json(source_path(name), {"files": files})
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
    """Note the file of a model that is ONNX from the start: it holds its weights itself."""
    if not path.is_file():
        raise InputError(f"{PARAMS}: models.{name}.onnx: no such file: {path}")
    write_json(source_path(name), {"files": {str(path): stamp(path)}})
    with new_file(weights_path(name)) as partial, partial.open("wb") as file:
        torch.save({}, file)
    log(f"{name}: {path}, which holds its weights")


def check_output(name: str, model: ModelParams, network: nn.Module, classes: int) -> None:
    """Raise InputError when a network of one's own gives no logits of the dataset's classes."""
    if not model.factory:
        return
    image = Split(model.preprocess, "val", model.task).images(0, 1)
    blob = torch.from_numpy(normalize(image, **read_normalization(model.preprocess)))
    key = f"{PARAMS}: models.{name}"
    try:
        with torch.inference_mode():
            raw = network.eval()(blob)
    except Exception as error:  # of the user's code
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ran = f"{model.factory}: its network cannot run a blob {tuple(blob.shape)}"
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


def factory_file(name: str, factory: str) -> Path | None:
    """The file of the module that a factory is in, if it is one."""
    import_factory(name, factory)
    file = getattr(sys.modules[factory.partition(":")[0]], "__file__", None)
    return Path(file) if file else None


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
    total = min(getattr(params.probe.calibration_images, model.task), len(images))
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
    size = getattr(params.probe.batch_size, model.task)
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
    name: str, model: ModelParams, params: Params, classes: int
) -> tuple[dict, Path | WeightsEnum]:
    """Return the state dict that `weights` names, and its source: torchvision's or a file."""
    from torchvision.models import get_model_weights

    published = {} if model.factory else get_model_weights(name).__members__
    if model.factory or model.weights not in (*published, "DEFAULT"):
        path = Path(model.weights).expanduser()
        if path.exists():
            return read_checkpoint(path, model.checkpoint_key), path
        names = ", ".join(("probe", "random", *published))
        raise InputError(
            f"{PARAMS}: models.{name}.weights: found {model.weights!r}, which is no file; expected "
            f"one of {names} or the path of a checkpoint"
        )
    weights = published_weights(name, model)
    outputs = len(weights.meta["categories"])
    if outputs != classes:
        raise InputError(
            f"{PARAMS}: models.{name}.weights: {weights} has {outputs} outputs; the dataset of the "
            f"profile {model.preprocess!r} has {classes} classes"
        )
    profile = entry(params, "preprocess", model.preprocess)
    if name in RESCALED and {*profile.mean, *profile.std} != {0.5}:
        raise InputError(
            f"{PARAMS}: preprocess.{model.preprocess}: {weights} expects a mean and std of 0.5 for "
            f"each channel; found mean {profile.mean} and std {profile.std}"
        )
    cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if cache.exists():
        return read_checkpoint(cache), weights
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        return state, weights
    except (OSError, RuntimeError) as error:  # RuntimeError: the hash of what came is another
        raise InputError(
            f"{weights.url}: cannot be downloaded ({error}); put the file at {cache} by hand, or "
            f"use `weights: probe`"
        ) from None


if __name__ == "__main__":
    run(main)
