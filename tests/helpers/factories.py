"""Factories of networks for tests, importable by name."""

import torch
from torch import nn


def with_head_of_zeros(classes: int = 10) -> nn.Module:
    """A classifier whose untrained logits are all zero, as those of torchvision's ViT are."""
    head = nn.Linear(4, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


class _Single(nn.Module):
    def forward(self, blob):
        return blob.mean((2, 3)) @ torch.ones(3, 10, dtype=torch.float32)


def bound_to_float32() -> nn.Module:
    """A classifier that refuses a blob in float64."""
    return _Single()


class TwoAnswers(nn.Module):
    """A classifier that returns a dict, like torchvision's segmentation models."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, blob: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.network(blob)
        return {"out": logits, "aux": -logits}


def with_two_answers() -> nn.Module:
    return TwoAnswers(with_head_of_zeros())
