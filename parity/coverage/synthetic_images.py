"""Blobs that need no dataset: images that differ strongly from one another."""

import numpy as np

WAVES = 12  # of an image, each with its own frequency, direction and colour
CYCLES = (0.5, 24)  # across the image, drawn evenly on a logarithmic scale
GRAIN = 0.3  # standard deviation of the noise on top
BASE = 0.5  # standard deviation of an image's mean colour


def patterns(images: int, height: int, width: int, seed: int) -> np.ndarray:
    """Draw coloured random fields: float32 (images, 3, height, width).

    Each is a base colour, a sum of plane waves and white noise, with about the mean and deviation
    of normalised photographs. White noise alone looks the same to a network that averages over
    space. More images leave the first ones unchanged.
    """
    y, x = np.mgrid[:height, :width] / max(height, width)
    blob = np.empty((images, 3, height, width), np.float32)
    for index in range(images):
        rng = np.random.default_rng([seed, index])
        field = rng.normal(0, GRAIN, (3, height, width))
        cycles = np.exp(rng.uniform(*np.log(CYCLES), WAVES))
        angles, phases = rng.uniform(0, 2 * np.pi, (2, WAVES))
        colours = rng.normal(0, 1 / np.sqrt(WAVES), (WAVES, 3, 1, 1))
        for cycle, angle, phase, colour in zip(cycles, angles, phases, colours, strict=True):
            along = x * np.cos(angle) + y * np.sin(angle)
            field = field + colour * np.sin(2 * np.pi * cycle * along + phase)
        # One contrast for all: a deep random network amplifies an outlier a hundredfold.
        field = field - field.mean(axis=(1, 2), keepdims=True)
        field /= field.std(axis=(1, 2), keepdims=True)
        blob[index] = field + rng.normal(0, BASE, (3, 1, 1))
    return blob


def spread(outputs: np.ndarray) -> float:
    """Measure how much the outputs of several images differ: logits (N, C) or (N, C, H, W), N > 1.

    Returns the smallest of these maximum differences, over the largest absolute logit: between any
    two images; between any two classes; between an output and its mirror images, where it has
    height and width. A candidate that swaps images or classes, or repeats one output, is off by at
    least this much. 0 where a logit is NaN or infinite.
    """
    largest = np.abs(outputs).max()
    if not np.isfinite(largest) or not largest:
        return 0.0
    differences = [
        np.abs(slices[a] - slices[b]).max()
        for slices in (outputs, outputs.swapaxes(0, 1))
        for a in range(len(slices))
        for b in range(a)
    ]
    differences += [
        np.abs(image - np.flip(image, axis)).max()
        for image in outputs
        for axis in range(1, image.ndim)
    ]
    return float(min(differences) / largest)


def perturbed(blob: np.ndarray) -> np.ndarray:
    """Change every value by about a millionth, as rounding does over a few layers."""
    factors = 1 + 1e-6 * np.random.default_rng(0).normal(size=blob.shape)
    return (blob * factors).astype(np.float32)
