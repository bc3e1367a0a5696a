"""The layers that compute a network's logits."""

import torch
from torch import nn

from parity.networks.light_torchvision import torchvision


class NoHead(Exception):
    """A network's last layer cannot be fitted. The message says why."""


def find_heads(network: nn.Module, classes: int, blob: torch.Tensor) -> list[nn.Module]:
    """Return the layers that compute the logits: the last to run with `classes` outputs.

    Most networks have one; LR-ASPP, which adds two, has both. Empty when no layer has `classes`
    outputs.
    """
    ran: list[nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda module, *_: ran.append(module))
        for layer in network.modules()
        if getattr(layer, "out_features", getattr(layer, "out_channels", None)) == classes
    ]
    with torch.inference_mode():
        network(blob)
    for hook in hooks:
        hook.remove()
    adds_two = torchvision.models.segmentation.lraspp.LRASPPHead
    summed = any(isinstance(module, adds_two) for module in network.modules())
    return ran[-2:] if summed else ran[-1:]


def find_linear_heads(network: nn.Module, classes: int, blob: torch.Tensor) -> list[nn.Module]:
    """Return the heads of a network whose logits are linear in their input, so that weights can be
    computed: linear layers, or convolutions of one pixel.

    Raises NoHead for any other network.
    """
    heads = find_heads(network, classes, blob)
    if not heads:
        raise NoHead(f"no layer of the network has {classes} outputs")
    for head in heads:
        pointwise = isinstance(head, nn.Conv2d) and head.kernel_size == (1, 1) and head.groups == 1
        if not isinstance(head, nn.Linear) and not pointwise:
            raise NoHead(f"the last layer with {classes} outputs is {head}")
        if "weight" not in head._parameters:  # computed from others, such as by weight_norm
            raise NoHead(f"the weight of the last layer with {classes} outputs is no parameter")
    return heads
