"""Random weights that make a comparison meaningful: the logits depend on the image.

A plain random network may prove nothing: a ViT starts with a head of zeros, ConvNeXt scales its
branches by a millionth, and GoogLeNet without running statistics hardly depends on its input. Such
outputs agree whatever an engine does.
"""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn

from parity.networks.heads import find_heads
from parity.networks.light_torchvision import torchvision
from parity.networks.probe import calibrate, damp_residuals

ResBottleneckBlock = torchvision.models.regnet.ResBottleneckBlock

# Where features hardly differ between images, the head amplifies them no further: it would amplify
# their rounding errors too.
MAX_AMPLIFICATION = 20


def spread_logits(
    network: nn.Module, blobs: Iterable[torch.Tensor], classes: int, residual_scale: float
) -> None:
    """Scale a randomly initialised network so that its logits have a normal size and depend on the
    image.

    `network` returns logits alone; `blobs` are float32 (N, 3, H, W). Residual branches are damped
    by `residual_scale`, batch norms take the statistics of all blobs, and over the first blob each
    class gets logits of mean 0 and deviation 1. A layer of logits that is neither linear nor a
    convolution keeps its weights.
    """
    damp_residuals(network, residual_scale)
    scale_branches(network, residual_scale)
    blobs = iter(blobs)
    first = next(blobs)
    calibrate(network, chain([first], blobs))
    for layer in find_heads(network, classes, first[:1]):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            draw_head(network, layer, first)


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
            for norm in norms[-1:]:
                nn.init.constant_(norm.weight, scale)


def draw_head(network: nn.Module, layer: nn.Linear | nn.Conv2d, blob: torch.Tensor) -> None:
    """Draw the weights of a layer that computes logits, and scale its output on a blob to mean 0
    and deviation 1 in each class, amplifying it at most MAX_AMPLIFICATION times."""
    outputs: list[torch.Tensor] = []
    # A copy, since SqueezeNet's next layer is a ReLU in place.
    hook = layer.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    with torch.no_grad():
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        network(blob)
        hook.remove()
        class_axis = -1 if isinstance(layer, nn.Linear) else 1
        values = outputs[0].movedim(class_axis, 0).flatten(1)
        mean = values.mean(dim=1)
        least = values.square().mean(dim=1).sqrt() / MAX_AMPLIFICATION
        deviation = values.std(dim=1).clamp_min(least)
        deviation[deviation == 0] = 1  # dead features, whose logits are all zero
        layer.weight.div_(deviation.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            layer.bias.copy_(-mean / deviation)
