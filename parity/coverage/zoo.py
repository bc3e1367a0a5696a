"""torchvision's models with weights that make a comparison mean something, without a download.

A plain random network may say nothing: seeded, a ViT has a head of zeros, ConvNeXt scales its
branches to a millionth, and without running statistics GoogLeNet hardly depends on its input. Such
outputs agree whatever an engine does.
"""

import torch
from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.regnet import ResBottleneckBlock

from parity.core.params import ModelParams, Task
from parity.coverage.synthetic_images import patterns
from parity.networks.heads import find_heads
from parity.networks.network import Logits, build, model_names
from parity.networks.probe import calibrate, damp_residuals, seeded

CALIBRATION_IMAGES = 8
# A head makes up for features that hardly differ between images only so far: it would blow up
# their rounding errors as well.
AMPLIFICATION = 20


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
    damp_residuals(network, residual_scale)
    scale_branches(network, residual_scale)
    logits = Logits(network).eval()
    # Not the images that are compared: the seed differs.
    blob = torch.from_numpy(patterns(CALIBRATION_IMAGES, *size, seed + 1))
    calibrate(logits, [blob])
    for layer in find_heads(logits, classes, blob[:1]):
        draw_head(logits, layer, blob)
    return network


def scale_branches(network: nn.Module, scale: float) -> None:
    """Let the branches of ConvNeXt, which start training at a millionth, take part, and those of
    mobile networks and RegNet not drown what the blocks before them saw, as `damp_residuals` does
    for ResNet: each would blow up rounding errors as well."""
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
    """Draw the weights of a layer that makes logits, and scale its output on a blob, channel by
    channel, to mean 0 and deviation 1, as far as its input differs between images."""
    outputs: list[torch.Tensor] = []
    # A copy: SqueezeNet's next layer, a ReLU, works in place.
    hook = layer.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    with torch.no_grad():
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        network(blob)
        hook.remove()
        values = outputs[0].transpose(0, 1).flatten(1)
        mean = values.mean(dim=1)
        deviation = values.std(dim=1).clamp_min(values.square().mean(dim=1).sqrt() / AMPLIFICATION)
        layer.weight.div_(deviation.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            layer.bias.copy_(-mean / deviation)
