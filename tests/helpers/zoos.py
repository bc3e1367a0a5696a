"""A zoo of tiny networks, as `coverage.zoo` lists it, whose package is written, not downloaded."""

import json
from pathlib import Path

from helpers.params import write_params

ZOO = "tiny"
MODULE = """
import torch
from torch import nn

def create(kind, outputs, width=4, scale=1.0):
    if kind == "broken":
        raise ValueError("no such network: broken")
    network = Complex if kind == "complex" else nn.Sequential
    return network(
        nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs),
    )

class Complex(nn.Sequential):
    def forward(self, blob):
        return super().forward(torch.fft.rfft2(blob).real)
"""
ENTRY = {
    "packages": ["tinynets==1.0"],
    "factory": "tinynets:create",
    "name": "kind",
    "classes": "outputs",
    "arguments": {"scale": 0.5},
    "task": "classification",
    "models": [
        "plain",
        {"name": "wide", "arguments": {"kind": "plain", "width": 8}, "size": "32x48"},
    ],
}


def write_zoo(folder: Path, *models, **changes) -> None:
    """Write params.yaml with the zoo, changed and with more `models`, and its package as if it were
    installed."""
    entry = ENTRY | {"models": [*ENTRY["models"], *models]} | changes
    # So few layers round hardly at all in PyTorch.
    loose = {"gate.limits.classification.exactness": 1000}
    write_params(folder, {"coverage.zoo": {ZOO: entry}} | loose)
    place = folder / "data/coverage/zoo" / ZOO
    place.mkdir(parents=True, exist_ok=True)
    (place / "tinynets.py").write_text(MODULE)
    (place / "packages.json").write_text(json.dumps({"packages": entry["packages"]}))
