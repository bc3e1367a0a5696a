"""Factories of networks for tests, importable by name."""

from torch import nn


def with_head_of_zeros(classes: int = 10) -> nn.Module:
    """A classifier whose untrained logits are all zero, as those of torchvision's ViT are."""
    head = nn.Linear(4, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
