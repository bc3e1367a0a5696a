import re

import pytest
from helpers.checkout import ROOT

from parity.mending.rules import MODULES, RULES

PAGE = (ROOT / "docs/mending.md").read_text(encoding="utf-8")


def test_the_page_lists_every_rule_in_order_and_says_which_are_exact():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (yes|no) \| .+ \|$", PAGE, re.M)
    assert rows == [(name, "yes" if rule.exact else "no") for name, rule in RULES.items()]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.RULE.name)
def test_a_rule_says_why_it_is_the_same_function_and_which_fault_it_steers_round(module):
    for part in ("Replacement: ", "Why it is the same function: ", "Fault"):
        assert part in module.__doc__, part
    assert module.__name__.endswith(f".{module.RULE.name}")
    assert "OpenCV" in module.RULE.steers_round
    assert (ROOT / "tests/mending" / f"test_{module.RULE.name}.py").exists()
