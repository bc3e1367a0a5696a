"""All rules, in the order in which they are tried."""

from parity.mending import (
    broadcast_after_convolution,
    constant_folding,
    constant_of_shape,
    contiguous_gather,
    dynamic_reshape,
    einsum_labels,
    einsum_matmul,
    expanded_concat,
    hard_sigmoid,
    identity_of_constant,
    redundant_expand,
    resize_of_one_pixel,
)
from parity.mending.rule import Rule

MODULES = (
    hard_sigmoid,
    resize_of_one_pixel,
    broadcast_after_convolution,
    constant_of_shape,
    einsum_matmul,
    einsum_labels,
    dynamic_reshape,
    contiguous_gather,
    expanded_concat,
    redundant_expand,
    identity_of_constant,
    constant_folding,
)
RULES: dict[str, Rule] = {module.RULE.name: module.RULE for module in MODULES}
