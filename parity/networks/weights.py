"""A model's weights: a linear probe, random, torchvision's published ones, or a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from parity.core.cli import InputError, log
from parity.core.heap import keep_freed_memory
from parity.core.params import OFFLINE_WEIGHTS, PARAMS, ModelParams, Params
from parity.networks.checkpoints import load_state, no_plain_tensor, read_checkpoint
from parity.networks.factory import reason_of
from parity.networks.heads import NoHead
from parity.networks.light_torchvision import WeightsEnum, torchvision
from parity.networks.network import Logits, build, check_name, pick_output, published_weights
from parity.networks.probe import calibrate, damp_residuals, fit_head, seeded
from parity.networks.published import load_published
from parity.networks.random_weights import spread_logits
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

WeightsSource = WeightsEnum | Path | None  # None: computed from the data, not read

Batch = tuple[torch.Tensor, torch.Tensor]


def find_weights(name: str, model: ModelParams) -> WeightsSource:
    """Return torchvision's weights or the checkpoint that `weights` names, None for those that are
    computed offline; reads and downloads nothing.

    Raises InputError if torchvision has no such model, or if `weights` is neither torchvision's nor
    an existing file.
    """
    names: tuple[str, ...] = OFFLINE_WEIGHTS
    if not model.factory:
        check_name(name, model.task)
        names += tuple(torchvision.models.get_model_weights(name).__members__)
    if model.weights in OFFLINE_WEIGHTS:
        return None
    path = Path(model.weights).expanduser()
    source = published_weights(name, model) or (path if path.exists() else None)
    if source is None:
        found = f"found {model.weights!r}, which is no file"
        expected = f"expected one of {', '.join(names)} or the path of a checkpoint"
        raise InputError(f"{PARAMS}: models.{name}.weights: {found}; {expected}")
    return source


def network_with_weights(
    name: str, model: ModelParams, params: Params, classes: int
) -> tuple[nn.Module, WeightsSource]:
    """Build the network of an entry of `models` with its weights; return it with their source.

    Raises InputError when weights are not found, cannot be read, or do not fit the network, and
    when its output is not logits of `classes` classes.
    """
    source = find_weights(name, model)
    if source is None:
        return _offline_network(name, model, params, classes), None
    if isinstance(source, WeightsEnum):
        _check_published_classes(name, model, source, classes)
        state = load_published(name, source)
    else:
        state = read_checkpoint(source, model.checkpoint_key)
    network = build(name, model, classes)
    load_state(network, state, str(source))
    check_output(name, model, network, classes)
    return network, source


def _check_published_classes(
    name: str, model: ModelParams, weights: WeightsEnum, classes: int
) -> None:
    key, categories = f"{PARAMS}: models.{name}.weights", weights.meta["categories"]
    if categories is None:
        others = ", ".join(other for other in type(weights).__members__ if other != weights.name)
        raise InputError(f"{key}: {weights} has no classifier; expected one of {others}")
    if len(categories) != classes:
        raise InputError(
            f"{key}: {weights} has {len(categories)} outputs; the dataset of the profile "
            f"{model.preprocess!r} has {classes} classes"
        )


def _offline_network(name: str, model: ModelParams, params: Params, classes: int) -> nn.Module:
    """Build a network with seeded random weights; a probe's last layer is fitted to the train
    split."""
    keep_freed_memory()
    train = Split(model.preprocess, "train", model.task)
    if model.weights == "probe" and len(train) < 2:
        raise InputError(
            f"{PARAMS}: models.{name}.weights: a probe is fitted to two or more train images; the "
            f"train list of the profile {model.preprocess!r} has {len(train)}; use `random` instead"
        )
    seeded(params.seed, name)
    network = build(name, model, classes)
    check_output(name, model, network, classes)
    logits = Logits(network, model.output)
    # Statistics need no labels, so without a train list the val images serve.
    images = train if len(train) else Split(model.preprocess, "val", model.task)
    total = min(params.probe.calibration_images.of(model.task), len(images))
    batches = labelled_batches(images, total, model, params, "calibrate")
    blobs = (blob for blob, _ in batches)
    scale = params.probe.residual_scale
    with _refused_networks(name, model):
        if model.weights == "random":
            spread_logits(logits, blobs, classes, scale)
            return network
        damp_residuals(network, scale)
        calibrate(logits, blobs)
        labelled = labelled_batches(train, len(train), model, params, "fit")
        fit_head(logits, labelled, classes, params.probe.ridge)
    return network


@contextmanager
def _refused_networks(name: str, model: ModelParams) -> Iterator[None]:
    """Raise InputError where weights cannot be computed for the network of a factory."""
    key = f"{PARAMS}: models.{name}.weights: found {model.weights!r}"
    try:
        yield
    except NoHead as error:
        expected = "expected a linear layer or a 1x1 convolution, or `random`, or a checkpoint"
        raise InputError(f"{key}, which fits the last layer, but {error}; {expected}") from None
    except Exception as error:  # the user's code raises anything
        if not model.factory or isinstance(error, InputError):
            raise
        reason = f"which cannot be computed for the network of {model.factory}"
        raise InputError(f"{key}, {reason}: {reason_of(error)}") from None


def labelled_batches(
    split: Split, total: int, model: ModelParams, params: Params, progress: str
) -> Iterator[Batch]:
    """Yield the first `total` images as blobs with targets, under a progress bar of this name.

    Images of a segmentation are cut to their batch's common size.
    """
    normalization = read_normalization(model.preprocess)
    size = params.probe.batch_size.of(model.task)
    with tqdm(total=total, desc=progress, unit="image", disable=None) as bar:
        start = 0
        while start < total:
            # Batch norm has no statistics of one value, so no batch holds a single image.
            stop = total if total - start <= size + 1 else start + size
            images, targets = split.cut_to_common_size(start, stop)
            blob = torch.from_numpy(normalize(images, **normalization))
            yield blob, torch.from_numpy(targets)
            bar.update(stop - start)
            start = stop


def check_classes(name: str, model: ModelParams, classes: int) -> None:
    """Raise InputError when an entry's `classes` differ from those of its dataset."""
    if model.classes not in (None, classes):
        found = (
            f"found {model.classes}; the dataset of the profile {model.preprocess!r} has {classes}"
        )
        raise InputError(f"{PARAMS}: models.{name}.classes: {found}")


def check_output(name: str, model: ModelParams, network: nn.Module, classes: int) -> None:
    """Run the first val image; raise InputError unless the output is logits of `classes` classes.

    Catches a factory's network that returns something else, and a network that needs images of
    another size than the profile's.
    """
    image = Split(model.preprocess, "val", model.task).images(0, 1)
    blob = torch.from_numpy(normalize(image, **read_normalization(model.preprocess)))
    key = f"{PARAMS}: models.{name}"
    try:
        with torch.inference_mode():
            output = network.eval()(blob)
    except Exception as error:  # the user's code raises anything
        where = f"{key}.factory: {model.factory}" if model.factory else key
        ran = f"the network cannot run a blob {tuple(blob.shape)}"
        raise InputError(f"{where}: {ran}: {reason_of(error)}") from None
    try:
        logits = pick_output(output, model.output)
    except (LookupError, TypeError):
        logits = None
    if not torch.is_tensor(logits):
        found = f"found {model.output!r}" if model.output is not None else "missing"
        returned = f"the network returns {_describe_output(output)}"
        raise InputError(f"{key}.output: {found}; {returned}: name the entry to use")
    if kind := no_plain_tensor(logits) or (logits.dtype != torch.float32 and str(logits.dtype)):
        raise InputError(f"{key}: the output is {kind}; expected torch.float32")
    if model.factory and model.output is None and isinstance(output, dict) and len(output) > 1:
        returned = f"the network returns {_describe_output(output)}"
        log(f"{name}: {returned}; 'out' is compared: models.{name}.output names another")
    expected = (1, classes) + (tuple(blob.shape[2:]) if model.task == "segmentation" else ())
    if tuple(logits.shape) != expected:
        found = f"the output is {tuple(logits.shape)} for a blob {tuple(blob.shape)}"
        raise InputError(
            f"{key}: {found}; expected {expected}, as the dataset has {classes} classes"
        )


def _describe_output(output: object) -> str:
    if torch.is_tensor(output):
        return f"one tensor {tuple(output.shape)}"
    if isinstance(output, dict):
        return f"a dict with the keys {', '.join(map(repr, output))}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"
