import json
from pathlib import Path

import pytest
from helpers.refusals import refused

from parity.bundle.reports import device_table, read_report

PASSES = {"result": "pass", "text": "23 files"}


def write_report(path: Path, **changes: object) -> Path:
    steps = {name: dict(PASSES) for name in ("files", "decoding", "preprocessing", "chain")}
    steps["network"] = PASSES | {"rel": 1.3e-7, "agreement": 100}
    here = {"opencv": "4.6.0", "processor": "Cortex-A76", "machine": "aarch64"}
    here |= {"engine": "classic", "backend": "opencv", "target": "cpu"}
    content = {"format": 1, "model": "resnet50", "runner": "c++", "passed": True}
    content |= {"steps": steps, "milliseconds": 412.34, "environment": here}
    path.write_text(json.dumps(content | changes))
    return path


def test_a_row_has_a_device_with_its_steps_and_figures(tmp_path):
    row = read_report(write_report(tmp_path / "pi5.json")).row()
    assert row[:6] == ["pi5", "resnet50", "c++", "4.6.0", "Cortex-A76 (aarch64)", "classic, cpu"]
    assert row[6:] == ["pass"] * 5 + ["1.3e-07", "412.3"]


def test_below_the_table_stands_why_a_device_failed(tmp_path):
    failing = {"files": PASSES, "network": {"result": "fail", "text": "rel 0.2 | big"}}
    bad = write_report(tmp_path / "bad.json", passed=False, steps=failing, milliseconds=None)
    table = device_table([read_report(write_report(tmp_path / "good.json")), read_report(bad)])
    lines = table.splitlines()
    assert len(lines) == 6 and lines[-1] == "bad: rel 0.2 / big"
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells[0] == "bad" and cells[6:] == ["pass", "-", "-", "fail", "-", "-", "-"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"format": 2}', "found the format 2; expected 1"),
        ('{"format": 1}', "KeyError: 'steps'"),
        ('{"format": 1, "steps": [], "environment": {}}', "AttributeError"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, content, reason):
    (tmp_path / "a.json").write_text(content)
    with refused(f"{tmp_path}/a.json: not a report of run_onnx --verify", reason):
        read_report(tmp_path / "a.json")


def test_reports_of_two_models_are_not_compared(tmp_path):
    paths = [
        write_report(tmp_path / "a.json"),
        write_report(tmp_path / "b.json", model="fcn_resnet50"),
    ]
    with refused("found reports of fcn_resnet50, resnet50; expected those of one model"):
        device_table([*map(read_report, paths)])
