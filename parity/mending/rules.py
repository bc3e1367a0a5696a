"""All rules, in the order in which they are tried."""

from parity.mending import einsum_matmul, hard_sigmoid
from parity.mending.rule import Rule

MODULES = (
    hard_sigmoid,
    einsum_matmul,
)
RULES: dict[str, Rule] = {module.RULE.name: module.RULE for module in MODULES}
