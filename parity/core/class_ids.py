"""The conventions of Pascal VOC's masks."""

import numpy as np

IGNORED = 255  # void: pixels of no class


def voc_palette(classes: int) -> np.ndarray:
    """The first `classes` colours of Pascal VOC, uint8 (classes, 3), RGB.

    The bits of a class id are dealt out to red, green and blue in turn, its lowest to a colour's
    highest, so that neighbouring ids get distant colours: `VOClabelcolormap.m` of the development
    kit (Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010).
    """
    ids = np.arange(classes)[:, None]
    palette = np.zeros((classes, 3), np.int64)
    for bit in range(8):
        palette |= (ids >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return palette.astype(np.uint8)


NO_CLASS = -1  # where a logit is NaN


def predicted_classes(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    """The class of the largest logit along `axis`, int64; of equal ones the first. NO_CLASS where
    any is NaN: `argmax` alone would name the first of these."""
    return np.where(np.isnan(logits).any(axis=axis), NO_CLASS, logits.argmax(axis=axis))
