import re

import pytest
from helpers.checkout import ROOT

from parity.mending.rule import KnownFault
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
    fault = module.RULE.steers_round
    assert fault.what in str(fault) and f"OpenCV {fault.since}" in str(fault)
    assert all(fault.is_in(version, fault.engines[0]) for version in (fault.since, fault.until))
    assert (ROOT / "tests/mending" / f"test_{module.RULE.name}.py").exists()


def test_a_fault_is_in_its_versions_and_engines_alone():
    fault = KnownFault("any", "4.13", "5.0.0", ("classic",))
    for version in ("4.13.0.92", "4.14.0", "5.0.0.93", "5.0.0"):
        assert fault.is_in(version, "classic") and not fault.is_in(version, "new")
    assert not any(fault.is_in(version, "classic") for version in ("4.12.0.88", "5.0.1", "5.1.0"))
