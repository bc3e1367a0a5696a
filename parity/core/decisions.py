"""From logits to predicted classes."""

import numpy as np

NO_CLASS = -1  # where a logit is NaN


def predicted_classes(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    """The class of the largest logit along `axis`, int64; of equal ones the first. NO_CLASS where
    any is NaN: `argmax` alone would name the first of these."""
    return np.where(np.isnan(logits).any(axis=axis), NO_CLASS, logits.argmax(axis=axis))
