import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.params import own, write_params

from parity.core.machine import machine
from stages import fetch, stale, weights


def changed(capsys) -> list[str]:
    stale.main([])
    return capsys.readouterr().out.split()


def test_what_was_fetched_has_not_changed(mine, capsys):
    assert changed(capsys) == []
    fetch.main(["textures"])
    fetch.main(["shapes"])
    assert changed(capsys) == []


@pytest.mark.parametrize("file", ["val.txt", "labels.txt", "images/b.png"])
def test_a_changed_file_is_noticed(mine, capsys, file):
    fetch.main(["textures"])
    stat = (mine / file).stat()
    os.utime(mine / file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert changed(capsys) == ["fetch@textures"]
    fetch.main(["textures"])
    assert changed(capsys) == []
    (mine / file).unlink()
    assert changed(capsys) == ["fetch@textures"]


def test_a_changed_list_elsewhere_is_noticed(mine, capsys):
    (mine.parent / "list.txt").write_text("a.png 0\n")
    write_params(mine.parent, own(classes="labels.txt", split="list.txt"))
    fetch.main(["textures"])
    assert changed(capsys) == []
    (mine.parent / "list.txt").write_text("a.png 0\nb.png 1\n")
    assert changed(capsys) == ["fetch@textures"]


def test_a_checkpoint_written_anew_is_noticed(prepared, capsys):
    weights.main(["squeezenet1_1"])
    assert changed(capsys) == []
    shutil.copy("models/squeezenet1_1/weights.pth", "mine.pth")
    write_params(prepared, {"models.squeezenet1_1.weights": "mine.pth"})
    weights.main(["squeezenet1_1"])
    assert changed(capsys) == []
    stat = Path("mine.pth").stat()
    os.utime("mine.pth", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert changed(capsys) == ["weights@squeezenet1_1"]


@pytest.mark.parametrize(
    ("measured_on", "expected"), [({}, []), ({"cpu": "another"}, ["benchmark@squeezenet1_1"])]
)
def test_times_of_another_machine_are_noticed(converted, capsys, measured_on, expected):
    Path("metrics/benchmark").mkdir(parents=True)
    times = {"environment": machine() | {"python": "3.1"} | measured_on}
    Path("metrics/benchmark/squeezenet1_1.json").write_text(json.dumps(times))
    assert changed(capsys) == expected


def test_before_anything_ran_nothing_is_stale(project, capsys):
    assert changed(capsys) == []
