"""What `python -m tools.scale` prints."""

import json
from pathlib import Path

import pytest
from helpers.coverage import made_record

from tools import scale


def test_the_record_gives_costs_and_limits(project, capsys, monkeypatch):
    monkeypatch.setattr(scale, "WORKERS", (1, 10))
    cells = {f"dynamo 18, {engine} 5.0.0": "same" for engine in ("classic", "new")}
    Path("metrics").mkdir()
    Path("metrics/coverage.json").write_text(json.dumps(made_record({"net": cells})))
    scale.main([])
    out = capsys.readouterr().out
    assert out.startswith("1 models, 4 stages, 50,000 images\n")
    # 50,000 images of 100 ms in each stage
    for label, hours in (("PyTorch", "1"), ("OpenCV, each combination", "3")):
        assert any(label in line and f" {hours} |" in line for line in out.splitlines())
    alone, ten = (line.split() for line in out.rstrip().splitlines()[-2:])
    assert (alone[1], alone[5], ten[1]) == ("1", "100", "10")
    assert float(alone[3]) > 9 * float(ten[3])


@pytest.mark.process
def test_a_model_is_measured_in_each_backend(converted, capsys, monkeypatch):
    monkeypatch.setattr(scale, "CLUSTERS", ("local:1",))
    scale.main(["--measure", "squeezenet1_1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "squeezenet1_1, onnxruntime, local:1",
        "squeezenet1_1, opencv, local:1",
    ]
    assert all(line.count(", ") == 4 and line.endswith("images/s") for line in lines)
