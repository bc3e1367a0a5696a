"""Meaningful weights without a download: calibrated batch norms and a linear probe.

A linear probe (Alain and Bengio, "Understanding intermediate layers using linear classifier
probes", 2016) fits the last layer alone: here in closed form, by ridge regression on the features
of a seeded random network.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from parity.core.class_ids import IGNORED
from parity.networks.heads import NoHead, find_linear_heads
from parity.networks.light_torchvision import torchvision

# The logits fitted for "not this class" and "this class": far enough apart for a confident softmax.
TARGET_OFF, TARGET_ON = 0.0, 10.0
# Added to all logits of a convolutional classifier: the ReLU between SqueezeNet's last layer and
# the average would cut off fitted logits below zero. It favours no class.
SHIFT = 50.0


def calibrate(network: nn.Module, blobs: Iterable[torch.Tensor]) -> None:
    """Set the running statistics of every batch norm to their mean over `blobs`, each (N, 3, H, W).

    Dropout and every other layer run as in inference.
    """
    network.eval()
    norms = [
        layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average
        layer.train()
    with torch.inference_mode():
        for blob in blobs:
            network(blob)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


def damp_residuals(network: nn.Module, scale: float) -> None:
    """Scale every residual branch of a ResNet by `scale`.

    At scale 1 the branches of a deep random network drown the blocks before them. Goyal et al.,
    "Accurate, Large Minibatch SGD" (2017), section 5.1, start training at 0, where the branches
    would have no effect.
    """
    for block in network.modules():
        if isinstance(block, torchvision.models.resnet.BasicBlock):
            nn.init.constant_(block.bn2.weight, scale)
        elif isinstance(block, torchvision.models.resnet.Bottleneck):
            nn.init.constant_(block.bn3.weight, scale)


def fit_head(
    network: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    classes: int,
    ridge: float,
) -> None:
    """Fit the network's last layer to labelled batches by ridge regression.

    Each batch is a blob, float32 (N, 3, H, W), and its targets: int64 class ids, (N,) for
    classification or (N, H, W) for segmentation, where 255 is ignored. The normal equations are
    summed in float64, so memory does not grow with the number of batches. Raises NoHead for a
    network whose last layer cannot be fitted.
    """
    network.eval()  # dropout would hide half of the features from the fit
    gram, moment, total = torch.zeros(()), torch.zeros(()), 0
    layers: list[nn.Module] = []
    for blob, target in batches:
        layers = layers or find_linear_heads(network, classes, blob[:1])
        features, labels = _features(network, layers, blob, target)
        features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
        targets = torch.full((len(labels), classes), TARGET_OFF, dtype=torch.float64)
        targets[torch.arange(len(labels)), labels] = TARGET_ON
        gram = gram + features.T @ features
        moment = moment + features.T @ targets
        total += len(labels)
    solution = _solve(gram / total, moment / total, ridge)
    if target.ndim == 1 and isinstance(layers[-1], nn.Conv2d):
        solution[-1] += SHIFT
    _set_heads(layers, solution)


def _solve(gram: torch.Tensor, moment: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return the ridge regression of centred features: (F + 1, C), the bias in the last row."""
    mean, target_mean = gram[-1, :-1], moment[-1]
    covariance = gram[:-1, :-1] - torch.outer(mean, mean)
    cross = moment[:-1] - torch.outer(mean, target_mean)
    penalty = ridge * covariance.diagonal().mean()
    size = len(covariance)
    weight = torch.linalg.solve(covariance + penalty * torch.eye(size).double(), cross)
    return torch.cat([weight, (target_mean - mean @ weight)[None]])


@contextmanager
def _recorded_inputs(layers: list[nn.Module]) -> Iterator[list[torch.Tensor]]:
    inputs: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, named: inputs.append(args[0] if args else named["input"]),
            with_kwargs=True,
        )
        for layer in layers
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _features(
    network: nn.Module, layers: list[nn.Module], blob: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the last layer's input, (M, F), and the class of each row, (M,)."""
    with torch.inference_mode(), _recorded_inputs(layers) as inputs:
        network(blob)
    if len(inputs) != len(layers):
        raise NoHead("the last layer runs several times for one image")
    features = torch.cat([value.clone() for value in inputs], dim=1)
    if features.ndim != 4 and (features.ndim, target.ndim) != (2, 1):
        raise NoHead(f"the input of the last layer has {features.ndim} axes")
    if target.ndim == 1:
        # The network averages a convolutional head over the image; averaging its input is the same.
        return (features.mean(dim=(2, 3)) if features.ndim == 4 else features), target
    height, width = features.shape[2:]
    labels = nn.functional.interpolate(target[:, None].float(), (height, width), mode="nearest")
    features = features.permute(0, 2, 3, 1).flatten(0, 2)
    labels = labels.flatten().long()
    return features[labels != IGNORED], labels[labels != IGNORED]


def _set_heads(layers: list[nn.Module], solution: torch.Tensor) -> None:
    """Write the solution into the layers, whose inputs it takes side by side."""
    start = 0
    with torch.no_grad():
        for layer in layers:
            size = getattr(layer, "in_features", getattr(layer, "in_channels", None))
            weight = solution[start : start + size].T
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            if layer.bias is not None:
                layer.bias.copy_(solution[-1] / len(layers))
            start += size


def seeded(seed: int, *names: str) -> None:
    """Seed PyTorch from the constant `seed` and the names of what is drawn next."""
    words = np.frombuffer("/".join(names).encode(), dtype=np.uint8)
    torch.manual_seed(int(np.random.SeedSequence([seed, *words.tolist()]).generate_state(1)[0]))
