"""`make operators`: its flags."""

import pytest
from helpers.refusals import refused

from tools import operators


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--jobs", "0"], "JOBS: found '0'; expected an integer of at least 1"),
        (["--opencv", "five"], "OPENCV: found 'five'; expected a version"),
    ],
)
def test_misuse_is_refused_before_anything_is_collected(project, monkeypatch, args, expected):
    monkeypatch.setattr(operators, "all_cases", lambda: pytest.fail("too early"))
    with refused(expected):
        operators.main(args)
