"""DVC made faster: the same bytes in dvc.lock, no half of a file, params.yaml read anew when it
changes."""

import os
from collections import OrderedDict
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml
from helpers.checkout import ROOT
from ruamel.yaml.representer import RepresenterError

from parity.core.fast_dvc import lock_files_fast, parsed_once

# As DVC has them for a stage: parsed from params.yaml, which holds anything.
VALUES = {
    "numbers": [0, -7, 1.0e-3, 1e-05, 0.25, 1e30, 2**70, float("inf")],
    "texts": ["", "no", "on", "1", "1.5", "2024-01-01", "~", "a: b", "- c", "# d", " e ", "'", '"'],
    "others": {"none": None, "true": True, "empty": {}, "list": [], "é": "日本 🙂", 1: 2},
    "long": "word " * 40 + "ends",
    "lines": "one\ntwo\n",
    "nested": [{"path": "a/b c.txt", "md5": "0" * 32 + ".dir", "size": 1}, [[1], []]],
}


def committed(path: Path) -> None:
    path.write_bytes((ROOT / "dvc.lock").read_bytes())


def change(data: dict, command: str) -> None:
    stage = OrderedDict(cmd=command, params={"params.yaml": VALUES})
    data.setdefault("stages", {}).update({"new@model": stage})
    data["datasets"] = [{"name": "photos"}]


@pytest.fixture
def modified():
    return lock_files_fast(modify_yaml)


@pytest.mark.parametrize("start", [committed, lambda path: None], ids=["committed", "none"])
def test_it_writes_the_bytes_that_dvc_writes(tmp_path, modified, start):
    ours, theirs = tmp_path / "dvc.lock", tmp_path / "theirs.lock"
    for path, modify in ((ours, modified), (theirs, modify_yaml)):
        start(path)
        for command in ("python -m stages.new", "python -m stages.newer"):
            with modify(path) as data:
                data["schema"] = "2.0"
                change(data, command)
    assert ours.read_bytes() == theirs.read_bytes()
    assert b"stages.newer" in ours.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "schema: '2.0'\nstages:\n  a@b:\n    cmd: one",
        "# mine\nschema: '2.0'\nstages:\n  a@b:\n    cmd: one\n",
        "schema: '2.0'\nstages:\n  # mine\n  a@b:\n    cmd:   one  # mine\n",
        "schema: '2.0'\nstages: {a@b: {cmd: one}}\n",
        "schema: '2.0'\nstages:\n  'a@b':\n    cmd: one\n",
        "stages:\n    a@b:\n        cmd: one\nschema: '2.0'\n",
        "schema: '2.0'\nstages:\n",
        "",
    ],
)
def test_a_file_in_another_layout_ends_as_dvc_would_write_it(tmp_path, modified, text):
    ours, theirs = tmp_path / "dvc.lock", tmp_path / "theirs.lock"
    for path, modify in ((ours, modified), (theirs, modify_yaml)):
        path.write_text(text)
        for command in ("two", "three"):
            with modify(path) as data:
                data["stages"] = data.get("stages") or {}
                data["stages"].update({"c": {"cmd": command}})
    assert ours.read_text() == theirs.read_text()
    assert "cmd: three" in ours.read_text()


def test_other_files_are_left_to_dvc(tmp_path, modified):
    """DVC changes the entries of dvc.yaml in place."""
    path = tmp_path / "dvc.yaml"
    path.write_text("stages:\n  a:\n    cmd: one  # mine\n")
    for command in ("two", "three"):
        with modified(path) as data:
            data["stages"]["a"]["cmd"] = command
    assert path.read_text() == "stages:\n  a:\n    cmd: three # mine\n"


def test_what_another_process_wrote_is_read(tmp_path, modified):
    path = tmp_path / "dvc.lock"
    with modified(path) as data:
        data["a"] = 1
    path.write_text("a: 2\n")
    os.utime(path, ns=(1, 1))
    with modified(path) as data:
        assert data == {"a": 2}
    path.unlink()
    with modified(path) as data:
        assert data == {}


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError, None])
def test_an_interrupted_change_leaves_the_file(tmp_path, modified, reason):
    """`None`: it fails while it is written, since YAML has no such value."""
    path = tmp_path / "dvc.lock"
    with modified(path) as data:
        data["a"] = 1
    with pytest.raises(reason or RepresenterError), modified(path) as data:
        data["stages"] = {"a": {"cmd": "two"}, "b": object()}
        if reason:
            raise reason
    assert path.read_text() == "a: 1\n" and list(tmp_path.iterdir()) == [path]
    with modified(path) as data:
        assert data == {"a": 1}


def test_a_file_is_parsed_once_for_each_change(tmp_path):
    path, parsed = tmp_path / "params.yaml", []

    def load(path: str, fs: object) -> str:
        parsed.append(path)
        return Path(path).read_text()

    cached = parsed_once(load)
    with pytest.raises(FileNotFoundError):
        cached(str(path), None)
    path.write_text("a: 1")
    assert [cached(str(path), None) for _ in range(3)] == ["a: 1"] * 3 and len(parsed) == 2
    path.write_text("a: 23")
    assert cached(str(path), None) == "a: 23"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cached(str(path), None)
