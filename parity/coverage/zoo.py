"""torchvision's models with weights that make a comparison mean something, without a download."""

import torch
from torch import nn
from torchvision.models import get_model_weights

from parity.core.params import ModelParams, Task
from parity.coverage.synthetic_images import patterns
from parity.networks.network import Logits, build, model_names
from parity.networks.probe import seeded
from parity.networks.random_weights import spread_logits

CALIBRATION_IMAGES = 8


def listed(max_parameters: float) -> dict[str, Task]:
    """torchvision's models for classification and segmentation with their tasks, up to so many
    million parameters."""
    tasks: tuple[Task, ...] = ("classification", "segmentation")
    names = {name: task for task in tasks for name in model_names(task)}
    return {name: task for name, task in names.items() if parameters(name) <= max_parameters}


def parameters(name: str) -> float:
    """The parameters of a model in millions, as published with its weights; 0 without any."""
    published = get_model_weights(name)
    return max((weights.meta["num_params"] / 1e6 for weights in published), default=0.0)


def zoo_entry(task: Task) -> ModelParams:
    """What an entry of `models` would be for one of torchvision's with random weights."""
    return ModelParams(task=task, preprocess="none", weights="random")


def zoo_network(
    name: str, task: Task, classes: int, size: tuple[int, int], seed: int, residual_scale: float
) -> nn.Module:
    """Build a network with seeded weights whose logits are of normal size and depend on the image.

    Residual branches are damped, batch norms take the statistics of seeded patterns of `size`
    (height, width), and each class gets logits of mean 0 and deviation 1 over them.
    """
    seeded(seed, "coverage", name)
    network = build(name, zoo_entry(task), classes)
    # Not the images that are compared: the seed differs.
    blob = torch.from_numpy(patterns(CALIBRATION_IMAGES, *size, seed + 1))
    spread_logits(Logits(network), [blob], classes, residual_scale)
    return network
