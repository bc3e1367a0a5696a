import pytest
from helpers.refusals import refused

from tools import repro


@pytest.mark.parametrize(
    "text",
    ["seed: 2024-01-01", f"seed: {'1' * 5000}", "a: &a [*a]", f"a: {'[' * 100_000}", "{}", "\0"],
)
def test_params_that_dvc_would_stumble_over_are_refused_before_it_starts(
    project, monkeypatch, text
):
    monkeypatch.setattr(repro, "wait_for", lambda command: pytest.fail("DVC ran"))
    (project / "params.yaml").write_text(text)
    with refused("params.yaml"):
        repro.main([])
