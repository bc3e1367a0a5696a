"""The identity of a machine: its own, the same each time, and nothing that gives it away."""

import re
from pathlib import Path

import pytest

from parity.core import machine


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The identity, computed anew with a machine id and a host name."""
    path = tmp_path / "machine-id"
    monkeypatch.setattr(machine, "MACHINE_IDS", (tmp_path / "none", path))

    def here(machine_id: str | None, host: str) -> str:
        Path(path).write_text(machine_id or "")
        monkeypatch.setattr(machine.platform, "node", lambda: host)
        return machine.identity.__wrapped__()

    return here


def test_it_is_a_hash_that_gives_neither_id_nor_host_away(here):
    found = here("0123456789abcdef0123456789abcdef", "workstation")
    assert re.fullmatch("[0-9a-f]{16}", found) and found not in "0123456789abcdef" * 3
    assert found == here("0123456789abcdef0123456789abcdef", "workstation")


def test_machines_differ_by_id_or_by_host_name(here):
    facts = [("a" * 32, "one"), ("b" * 32, "one"), ("a" * 32, "two"), (None, "one"), (None, "two")]
    assert len({here(*fact) for fact in facts}) == len(facts)


@pytest.mark.parametrize(
    ("name", "value"), [("cpu_model", "another"), ("memory_gib", 9_999)], ids=["cpu", "memory"]
)
def test_machines_differ_by_hardware(here, monkeypatch, name, value):
    before = here("a" * 32, "one")
    monkeypatch.setattr(machine, name, lambda: value)
    assert here("a" * 32, "one") != before


def test_what_times_depend_on_has_the_identity():
    assert machine.this_machine()["identity"] == machine.identity()
