import json
from pathlib import Path

import pytest
from helpers.bundles import change_weight, tiny_content, verify_alone
from helpers.refusals import refused

from parity.bundle.write import write_bundle
from parity.report.devices import read_devices
from tools import device_report


def test_devices_stand_side_by_side_and_one_that_fails_fails_all(project, capsys):
    folder = project / "bundle"
    write_bundle(folder, tiny_content(project / "of", images=1), force=False)
    names = []
    for name in ("whole", "broken"):
        verify_alone(folder, "--report", f"../{name}.json")
        names.append(f"{name}.json")
        change_weight(folder / "model.onnx")
    device_report.main(names[:1])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        device_report.main(names)
    assert end.value.code == 1
    table = capsys.readouterr().out
    assert table == Path("plots/devices.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert "| whole " in rows[2] and "fail" not in rows[2]
    assert "| broken " in rows[3] and rows[3].count("| fail ") >= 2
    assert "broken: model.onnx has changed" in table


def test_the_report_of_a_run_gets_the_devices_of_its_models(project, capsys):
    folder = project / "bundle"
    write_bundle(folder, tiny_content(project / "of", images=1), force=False)
    verify_alone(folder, "--report", "../phone.json")
    device_report.main(["phone.json"])
    assert "params.yaml: no model 'tiny'" in capsys.readouterr().err
    assert not Path("data/devices").exists()
    content = json.loads(Path("phone.json").read_text()) | {"model": "squeezenet1_1"}
    Path("phone.json").write_text(json.dumps(content))
    device_report.main(["phone.json"])
    assert "`make report` shows" in capsys.readouterr().err
    devices = read_devices("squeezenet1_1")
    row = dict(zip(devices.header, *devices.rows, strict=True))
    assert (row["device"], row["network"], row["runner"]) == ("phone", "pass", "python")
    assert "model" not in row and not devices.failures and not read_devices("resnet50")
    assert not devices.is_stale
    model = Path("models/squeezenet1_1/mended.onnx")
    model.parent.mkdir(parents=True)
    model.write_bytes(b"another")
    assert read_devices("squeezenet1_1").is_stale


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"header": [], "more": 1}'])
def test_a_damaged_table_is_named_and_left_out_of_the_report(project, capsys, content):
    path = Path("data/devices/squeezenet1_1.json")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert read_devices("squeezenet1_1") is None
    assert f"{path}: damaged; tools.device_report" in capsys.readouterr().err


def test_a_broken_params_yaml_ends_it_before_the_table(project, capsys):
    folder = project / "bundle"
    write_bundle(folder, tiny_content(project / "of", images=1), force=False)
    verify_alone(folder, "--report", "../phone.json")
    Path("params.yaml").write_text("seed: [")
    with refused("params.yaml"):
        device_report.main(["phone.json"])
    assert not capsys.readouterr().out and not Path("plots/devices.md").exists()
    Path("params.yaml").unlink()
    device_report.main(["phone.json"])
    assert Path("plots/devices.md").exists()


def test_a_foreign_file_leaves_the_last_table(project):
    Path("plots").mkdir()
    Path("plots/devices.md").write_text("last")
    Path("a.json").write_text(json.dumps({"mine": 1}))
    with refused("a.json: not a report of run_onnx --verify"):
        device_report.main(["a.json"])
    assert Path("plots/devices.md").read_text() == "last"
