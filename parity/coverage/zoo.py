"""torchvision's models with weights that make a comparison meaningful, without a download.

A plain random network may prove nothing: a ViT starts with a head of zeros, ConvNeXt scales its
branches by a millionth, and GoogLeNet without running statistics hardly depends on its input. Such
outputs agree whatever an engine does.
"""

import torch
from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.regnet import ResBottleneckBlock

from parity.core.params import ModelParams, Task
from parity.coverage.synthetic_images import patterns
from parity.networks.network import Logits, build, heads, model_names
from parity.networks.probe import calibrate, damp_residuals, seeded

CALIBRATION_IMAGES = 8
# Where features hardly differ between images, the head amplifies them no further: it would amplify
# their rounding errors too.
MAX_AMPLIFICATION = 20


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
    published = get_model_weights(name)
    return max((weights.meta["num_params"] / 1e6 for weights in published), default=0.0)


def zoo_entry(task: Task) -> ModelParams:
    """The entry of `models` for one of torchvision's models with random weights."""
    return ModelParams(task=task, preprocess="none", weights="random")


def zoo_network(
    name: str, task: Task, classes: int, size: tuple[int, int], seed: int, residual_scale: float
) -> nn.Module:
    """Build a network with seeded weights whose logits have a normal size and depend on the image.

    Residual branches are damped by `residual_scale`. Batch norms take the statistics of seeded
    patterns of `size` (height, width), over which each class gets logits of mean 0 and deviation 1.
    """
    seeded(seed, "coverage", name)
    network = build(name, zoo_entry(task), classes)
    damp_residuals(network, residual_scale)
    scale_branches(network, residual_scale)
    logits = Logits(network).eval()
    # Another seed than that of the images that are compared.
    blob = torch.from_numpy(patterns(CALIBRATION_IMAGES, *size, seed + 1))
    calibrate(logits, [blob])
    for layer in heads(logits, classes, blob[:1]):
        draw_head(logits, layer, blob)
    return network


def scale_branches(network: nn.Module, scale: float) -> None:
    """Set the scale of residual branches that `damp_residuals` leaves alone.

    ConvNeXt's start at a millionth and would have no effect; those of mobile networks and RegNet
    would drown the blocks before them and amplify rounding errors.
    """
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.constant_(parameter, scale)
    for block in network.modules():
        adds = getattr(block, "use_res_connect", getattr(block, "apply_residual", False))
        if adds or isinstance(block, ResBottleneckBlock):
            branch = block.f if isinstance(block, ResBottleneckBlock) else block
            norms = [layer for layer in branch.modules() if isinstance(layer, nn.BatchNorm2d)]
            nn.init.constant_(norms[-1].weight, scale)


def draw_head(network: nn.Module, layer: nn.Module, blob: torch.Tensor) -> None:
    """Draw the weights of a layer that computes logits, and scale its output on a blob to mean 0
    and deviation 1 in each channel, amplifying it at most MAX_AMPLIFICATION times."""
    outputs: list[torch.Tensor] = []
    # A copy, since SqueezeNet's next layer is a ReLU in place.
    hook = layer.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    with torch.no_grad():
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        network(blob)
        hook.remove()
        values = outputs[0].transpose(0, 1).flatten(1)
        mean = values.mean(dim=1)
        deviation = values.std(dim=1).clamp_min(
            values.square().mean(dim=1).sqrt() / MAX_AMPLIFICATION
        )
        layer.weight.div_(deviation.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            layer.bias.copy_(-mean / deviation)
