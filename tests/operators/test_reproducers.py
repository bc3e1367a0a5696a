import subprocess
import sys

import pytest

from parity.operators.causes import CAUSES
from parity.operators.reproducers import write_cause
from parity.operators.variations.cases import variations


def cause(key):
    return next(one for one in CAUSES if one.key == key)


@pytest.mark.process
@pytest.mark.parametrize(
    ("operator", "key"), [("Softplus", "softplus_of_another_constant"), ("Clip", "nan_is_lost")]
)
def test_the_smallest_case_that_shows_a_cause_becomes_a_reproducer(operator, key, tmp_path):
    written = write_cause(cause(key), variations([operator]), tmp_path)
    ran = subprocess.run([sys.executable, tmp_path / key / "reproduce.py"], capture_output=True)
    assert ran.returncode == 1 and b"the fault is there" in ran.stdout
    assert len(written.evidence.model.graph.node) <= 3


def test_without_a_case_that_probes_it_there_is_none(tmp_path):
    assert write_cause(cause("gelu_by_tanh"), variations(["Neg"]), tmp_path) is None
    assert not any(tmp_path.iterdir())
