from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.lock import lock_results, result, write
from helpers.params import write_params

from parity.core.last_run import NOTE, SET_UP_BY, is_up_to_date, note_whole_run, set_up
from parity.core.params import load_params
from stages import fingerprints

MODEL, FOLDER = Path("models/a/model.onnx"), Path("data/predictions/a/opencv")
MACHINE = Path("data/fingerprints/machine.json")


@pytest.fixture
def complete(project) -> Path:
    """A folder as a whole run leaves it."""
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


def change_lock() -> None:
    with Path("dvc.lock").open("a", encoding="utf-8") as file:
        file.write("# another\n")


CHANGES: dict[str, Callable[[], object]] = {
    "a constant": lambda: write_params(Path(), {"seed": 7}),
    "the pipeline": lambda: write(Path("dvc.yaml"), b"x: 2\n"),
    "DVC's settings": lambda: write(Path(".dvc/config.local"), b"x: 2\n"),
    "no settings any more": lambda: Path(".dvc/config").unlink(),
    "the lock": change_lock,
    "a missing file": MODEL.unlink,
    "a missing file of a folder": unlink_in_folder,
    "a file more in a folder": lambda: write(FOLDER / "masks/b.png", b"3"),
    "a folder in place of a file": lambda: (MODEL.unlink(), MODEL.mkdir()),
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


def test_a_file_that_was_edited_during_the_run_leaves_no_note(complete):
    before = set_up()
    write(Path("dvc.yaml"), b"x: 2\n")
    note_whole_run(before)
    assert not NOTE.exists() and not is_up_to_date(load_params())
