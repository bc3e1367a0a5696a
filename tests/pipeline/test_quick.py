"""`make QUICK=1`, small: a marked verdict in a folder of its own."""

import json

import pytest
from helpers.dvc_runs import CLS, digests, make

from parity.core.paths import QUICK

pytestmark = pytest.mark.pipeline


def test_a_quick_run_gives_a_marked_verdict_and_leaves_the_results_of_make(copy):
    kept = ("params.yaml", "dvc.lock", "metrics", "models", "plots", "data")
    before = digests(copy, *kept)
    done = make(copy, "QUICK=1", f"MODEL={CLS}")
    assert done.code == 0, done.output
    ran = {stage.partition("@")[0] for stage in done.stages}
    assert {"evaluate", "gate"} <= ran and not {"benchmark", "plot"} & ran
    assert done.output.count("Quick run: few images, no times") == 3  # the stage, table and verdict
    assert done.output.endswith("1 of 1 models pass (quick run)\n")
    recorded = json.loads((copy / QUICK / "metrics/gate.json").read_text(encoding="utf-8"))
    assert recorded["quick"] is True and recorded["models"].keys() == {CLS}

    again = make(copy, "QUICK=1", f"MODEL={CLS}")
    assert (again.code, again.stages) == (0, [])
    wrong = make(copy, "QUICK=1", "MODEL=resnet51")
    assert wrong.code and "error: params.yaml: models.resnet51: no such entry" in wrong.output

    after = digests(copy, *kept)
    assert {name: after[name] for name in before} == before
    assert make(copy).stages == []
