"""torchvision's models and those of `coverage.zoo`, with weights that make a comparison meaningful,
without a download."""

import torch
from torch import nn

from parity.core.params import TORCHVISION, ModelParams, Params, Task
from parity.coverage.synthetic_images import patterns
from parity.coverage.zoo_packages import SECTION, enter_zoo
from parity.networks.factory import build_from_factory
from parity.networks.light_torchvision import torchvision
from parity.networks.network import Logits, build, model_names
from parity.networks.probe import seeded
from parity.networks.random_weights import spread_logits

CALIBRATION_IMAGES = 8
ALIKE = 1e-4  # range of a parameter's values: vision transformers draw biases of deviation 1e-6
VARIATION = 0.1  # of biases and scales, beside features of deviation 1


def zoo_models(max_parameters: float) -> dict[str, Task]:
    """Return the names and tasks of torchvision's models for classification and segmentation with
    at most so many million parameters."""
    tasks: tuple[Task, ...] = ("classification", "segmentation")
    names = {name: task for task in tasks for name in model_names(task)}
    return {
        name: task for name, task in names.items() if million_parameters(name) <= max_parameters
    }


def million_parameters(name: str) -> float:
    """The parameters of a model in millions, as published with its weights; 0 without weights."""
    published = torchvision.models.get_model_weights(name)
    return max((weights.meta["num_params"] / 1e6 for weights in published), default=0.0)


def count_millions(network: nn.Module) -> float:
    """The parameters of a network in millions."""
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def zoo_entry(name: str, task: Task, params: Params, zoo: str = TORCHVISION) -> ModelParams:
    """The entry of `models` for a model of a zoo, with random weights."""
    entry = {"task": task, "preprocess": "none", "weights": "random"}
    if zoo != TORCHVISION:
        source = params.coverage.zoo[zoo]
        named = {source.name: name, source.classes: params.coverage.classes}
        arguments = source.arguments | named | source.model(name).arguments
        entry |= {"factory": source.factory, "arguments": arguments}
    return ModelParams(**entry)


def build_zoo_network(name: str, task: Task, params: Params, zoo: str = TORCHVISION) -> nn.Module:
    """Build a network, randomly initialised, for `coverage.classes`; of a zoo in `coverage.zoo`
    with its packages.

    Raises InputError where torchvision has no such model, or the zoo's factory fails.
    """
    entry = zoo_entry(name, task, params, zoo)
    if zoo == TORCHVISION:
        return build(name, entry, params.coverage.classes)
    enter_zoo(zoo)
    return build_from_factory(zoo, entry, SECTION)


def zoo_network(
    name: str, task: Task, size: tuple[int, int], params: Params, zoo: str = TORCHVISION
) -> nn.Module:
    """Build a network with seeded weights whose logits have a normal size and depend on the image.

    No parameter is constant but the scales of residual branches, which are `probe.residual_scale`.
    Batch norms take the statistics of seeded patterns of `size` (height, width), over which each
    class gets logits of mean 0 and deviation 1.
    """
    seeded(params.seed, "coverage", name)
    network = build_zoo_network(name, task, params, zoo)
    vary_constants(network)
    # Another seed than that of the images that are compared.
    blob = torch.from_numpy(patterns(CALIBRATION_IMAGES, *size, params.seed + 1))
    spread_logits(Logits(network), [blob], params.coverage.classes, params.probe.residual_scale)
    return network


def vary_constants(network: nn.Module) -> None:
    """Add noise to the parameters that the initialisation makes constant, or nearly: biases of 0,
    scales of 1.

    Without noise, an engine that ignores these parameters would pass. Equal parameters also show
    faults that trained ones do not: TorchScript writes one of them, and an Identity for each other.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.max() - parameter.min() < ALIKE:
                parameter.add_(VARIATION * torch.randn_like(parameter))
