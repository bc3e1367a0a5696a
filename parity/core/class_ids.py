"""Class ids of images and pixels: those predicted from logits, and those of Pascal VOC's masks."""

import numpy as np

NO_CLASS = -1  # predicted where a logit is NaN
IGNORED = 255  # VOC's void: pixels of a mask that belong to no class


def predicted_classes(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    """Return the class with the largest logit along `axis`, int64; the first of equal ones.

    Returns NO_CLASS where any logit is NaN: `argmax` alone would return the first NaN.
    """
    return np.where(np.isnan(logits).any(axis=axis), NO_CLASS, logits.argmax(axis=axis))


def voc_palette(classes: int) -> np.ndarray:
    """Return the first `classes` colours of Pascal VOC, uint8 (classes, 3), RGB.

    The bits of a class id go to red, green and blue in turn, the id's lowest bit to a colour's
    highest, so that neighbouring ids get distant colours: `VOClabelcolormap.m` of the development
    kit (Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010).
    """
    ids = np.arange(classes)[:, None]
    palette = np.zeros((classes, 3), np.int64)
    for bit in range(8):
        palette |= (ids >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return palette.astype(np.uint8)
