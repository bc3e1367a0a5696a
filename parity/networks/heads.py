"""The layers that compute a network's logits."""

import torch
import torchvision
from torch import nn


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
