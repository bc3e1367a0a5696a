"""Build the PyTorch network of an entry of `models`, torchvision's or a factory's, and load it."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from parity.core.cli import InputError
from parity.core.fingerprints import stamp
from parity.core.params import PARAMS, ModelParams, Task
from parity.core.paths import weights_path
from parity.networks.checkpoints import load_state, read_checkpoint
from parity.networks.factory import build_from_factory, factory_files
from parity.networks.light_torchvision import WeightsEnum, torchvision
from parity.preprocessing.splits import read_classes

# Networks whose published weights expect input scaled to -1..1, and which rescale it themselves.
RESCALED = ("googlenet", "inception_v3")


class Logits(nn.Module):
    """A network that returns its logits alone: entry `output` of a dict or tuple.

    Without `output`, a dict's entry `out`, where torchvision's segmentation models have them.
    """

    def __init__(self, network: nn.Module, output: str | int | None = None) -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, blob: torch.Tensor) -> torch.Tensor:
        return pick_output(self.network(blob), self.output)


def pick_output(output: Any, entry: str | int | None) -> torch.Tensor:
    """Return the logits in a network's output; raises LookupError when the entry is missing."""
    if entry is not None:
        return output[entry]
    return output["out"] if isinstance(output, dict) else output


def model_names(task: Task) -> list[str]:
    """Return the names of torchvision's models for a task."""
    models = torchvision.models
    module = models.segmentation if task == "segmentation" else models
    return models.list_models(module=module)


def check_name(name: str, task: Task) -> None:
    """Raise InputError when torchvision has no model of this name for the task."""
    known = model_names(task)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(
            f"{PARAMS}: models.{name}: torchvision has no {task} model of this name{hint}"
        )


def build(name: str, model: ModelParams, classes: int) -> nn.Module:
    """Build the network of an entry of `models`, randomly initialised, without auxiliary head.

    torchvision's network of that name gets `classes` outputs. Nothing is downloaded, not even a
    segmentation model's backbone. Raises InputError when torchvision has no model of this name for
    the task, or the factory fails.
    """
    if model.factory:
        return build_from_factory(name, model)
    check_name(name, model.task)
    published = published_weights(name, model)
    options: dict = {}
    if model.task == "segmentation":
        options["weights_backbone"] = None
    if name in RESCALED:
        # Auxiliary heads serve training alone; init_weights samples with SciPy for a minute.
        options |= {"aux_logits": False, "init_weights": False}
        options["transform_input"] = published is not None
    if published is not None and name.startswith("vit_"):
        options["image_size"] = published.meta["min_size"][0]  # the only size that it runs
    return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)


def published_weights(name: str, model: ModelParams) -> WeightsEnum | None:
    """Return torchvision's weights that an entry's `weights` names, None when it names none.

    The name is that of a member, IMAGENET1K_V2, or the full one, ResNet50_Weights.IMAGENET1K_V2.
    """
    if model.factory or model.weights is None:
        return None
    published = torchvision.models.get_model_weights(name)
    return published.__members__.get(model.weights.removeprefix(f"{published.__name__}."))


def saved_network(name: str, model: ModelParams) -> nn.Module:
    """Return the network of an entry of `models` with the weights that the stage `weights` wrote,
    ready for inference."""
    return load_network(weights_path(name), name, model, len(read_classes(model.preprocess)))


def saved_network_stamps(name: str, model: ModelParams) -> dict[str, object]:
    """Return what `saved_network` depends on, so that an interrupted run resumes with the same
    network only: the weights, the entry, and the code of a factory."""
    stamps = {"weights": stamp(weights_path(name)), "model": model.model_dump()}
    if model.factory:
        stamps["factory"] = [stamp(file) for file in factory_files(name, model.factory)]
    return stamps


def load_network(weights: Path, name: str, model: ModelParams, classes: int) -> nn.Module:
    """Build the network and load the state dict of the file `weights`; return it ready for
    inference."""
    network = build(name, model, classes)
    load_state(network, read_checkpoint(weights), source=str(weights))
    return Logits(network, model.output).eval()
