import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.lock import lock_results, md5_of, result, write, write_lock
from helpers.params import write_params

from parity.core.last_run import NOTE, SET_UP_BY, is_up_to_date, note_whole_run, set_up
from parity.core.lockfile import cached, locked_stages
from parity.core.params import load_params
from stages import fingerprints

MODEL, FOLDER = Path("models/a/model.onnx"), Path("data/predictions/a/opencv")
MACHINE = Path("data/fingerprints/machine.json")


@pytest.fixture
def complete(project) -> Path:
    """A folder as a whole run leaves it."""
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    for path in SET_UP_BY:
        if not path.exists():
            write(path, b"x: 1\n")
    lock_results(
        export_onnx__a=[result(str(MODEL), b"graph")],
        infer_opencv__a=[result(str(FOLDER), {"logits.npy": b"1", "masks/a.png": b"2"})],
    )
    fingerprints.main([])
    note_whole_run(set_up())
    return project


def unlink_in_folder() -> None:
    (FOLDER / "logits.npy").unlink()


def add_to_pipeline(text: str) -> None:
    with Path("dvc.yaml").open("a", encoding="utf-8") as file:
        file.write(text)


def change_lock() -> None:
    with Path("dvc.lock").open("a", encoding="utf-8") as file:
        file.write("# another\n")


CHANGES: dict[str, Callable[[], object]] = {
    "a constant": lambda: write_params(Path(), {"seed": 7}),
    "the pipeline": lambda: add_to_pipeline("# another comment\n"),
    "DVC's settings": lambda: write(Path(".dvc/config.local"), b"x: 2\n"),
    "no settings any more": lambda: Path(".dvc/config").unlink(),
    "the lock": change_lock,
    "a missing file": MODEL.unlink,
    "a missing file of a folder": unlink_in_folder,
    "a file more in a folder": lambda: write(FOLDER / "masks/b.png", b"3"),
    "a folder in place of a file": lambda: (MODEL.unlink(), MODEL.mkdir()),
    "no object in the cache": cached(md5_of(b"graph")).unlink,
    "no object of a folder in the cache": cached(md5_of(b"2")).unlink,
    "no fingerprint": MACHINE.unlink,
    "no note": NOTE.unlink,
    "a damaged note": lambda: write(NOTE, b"{"),
}


def test_a_whole_run_is_up_to_date_until_something_changes(complete, monkeypatch):
    assert is_up_to_date(load_params())
    for changed in ("parity.core.last_run.version", "parity.core.fingerprint_files.this_machine"):
        with monkeypatch.context() as patch:
            patch.setattr(changed, lambda *_: {"another": "one"})
            assert not is_up_to_date(load_params())


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_is_seen(complete, change):
    change()
    assert not is_up_to_date(load_params())


def edit_and_take_back(path: Path) -> None:
    before = path.read_bytes()
    path.write_bytes(b"another")
    path.write_bytes(before)
    os.utime(path)  # two writes may share a time


@pytest.mark.parametrize("edit", [lambda path: path.write_bytes(b"another"), edit_and_take_back])
def test_a_file_that_was_edited_during_the_run_leaves_no_note(complete, edit):
    """DVC may have read it before or after."""
    before = set_up()
    edit(Path(".dvc/config"))
    note_whole_run(before)
    assert not NOTE.exists() and not is_up_to_date(load_params())


@pytest.mark.parametrize(
    ("dep", "template", "expected"),
    [
        ("params.yaml", "{cmd: x}", True),
        ("data/predictions/a", "{cmd: x}", True),
        ("my_script.py", "{cmd: x}", False),
        (str(MODEL), "{cmd: x, always_changed: true}", False),
    ],
)
def test_a_stage_of_the_users_may_read_what_no_stage_wrote(complete, dep, template, expected):
    stages = locked_stages()
    stages["mine"] = {"cmd": "x", "deps": [{"path": dep, "md5": "0", "size": 1}]}
    write_lock(stages)
    add_to_pipeline(f"  mine: {template}\n")
    note_whole_run(set_up())
    assert is_up_to_date(load_params()) is expected
