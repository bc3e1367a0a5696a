"""All rules, in the order in which they are tried."""

from parity.mending import (
    broadcast_after_convolution,
    constant_of_shape,
    hard_sigmoid,
    resize_of_one_pixel,
)
from parity.mending.rule import Rule

RULES: dict[str, Rule] = {
    module.RULE.name: module.RULE
    for module in (
        hard_sigmoid,
        constant_of_shape,
        resize_of_one_pixel,
        broadcast_after_convolution,
    )
}
