"""The last good results come back from DVC's cache."""

import sys
from pathlib import Path

import pytest
from helpers.folders import file_contents
from helpers.lock import CACHE, lock_results, md5_of, result, write

from parity.core.cli import InputError, run
from parity.core.lockfile import is_as_written, locked_outputs, restore_outputs

MODEL, FOLDER = Path("models/a/model.onnx"), Path("data/predictions/a/opencv")
CONTENT = {"logits.npy": b"1", "masks/a.png": b"2"}


@pytest.fixture
def made(project) -> Path:
    lock_results(
        export_onnx__a=[result(str(MODEL), b"graph")],
        infer_opencv__a=[result(str(FOLDER), CONTENT)],
    )
    return project


def remove_all() -> None:
    MODEL.unlink()
    for name in CONTENT:
        (FOLDER / name).unlink()
    for folder in (FOLDER / "masks", FOLDER):
        folder.rmdir()


def test_missing_outputs_are_as_their_stages_wrote_them(made):
    remove_all()
    restored = restore_outputs(locked_outputs())
    assert [one.path for one in restored] == [MODEL, FOLDER]
    assert MODEL.read_bytes() == b"graph" and file_contents(FOLDER) == CONTENT
    assert all(map(is_as_written, locked_outputs()))
    assert restore_outputs(locked_outputs()) == []


def test_an_output_that_is_there_is_left_as_it_is(made):
    MODEL.write_bytes(b"newer")
    (FOLDER / "logits.npy").unlink()
    assert restore_outputs(locked_outputs()) == []
    assert MODEL.read_bytes() == b"newer"


def test_nothing_is_restored_from_a_damaged_or_missing_object(made):
    remove_all()
    first, second = md5_of(b"graph"), md5_of(b"2")
    write(CACHE / first[:2] / first[2:], b"damaged")
    (CACHE / second[:2] / second[2:]).unlink()
    assert restore_outputs(locked_outputs()) == []
    assert not MODEL.exists() and not FOLDER.exists()


def test_a_write_to_a_restored_file_of_root_does_not_reach_the_cache(made, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    remove_all()
    restore_outputs(locked_outputs())
    MODEL.write_bytes(b"other")
    assert (CACHE / md5_of(b"graph")[:2] / md5_of(b"graph")[2:]).read_bytes() == b"graph"


# At the end of a stage


def refuse() -> None:
    raise InputError("params.yaml: no")


@pytest.mark.parametrize(
    ("ends", "restores"),
    [
        (refuse, True),
        (lambda: 1 / 0, True),
        (lambda: sys.exit(1), True),
        (lambda: sys.exit("text"), True),
        (lambda: sys.exit(0), False),
        (lambda: sys.exit(), False),
    ],
)
def test_a_stage_that_fails_brings_back_its_own_outputs_alone(made, monkeypatch, ends, restores):
    monkeypatch.setenv("DVC_STAGE", "export_onnx@a")
    remove_all()
    with pytest.raises((SystemExit, ZeroDivisionError)):
        run(ends)
    assert MODEL.exists() == restores and not FOLDER.exists()


def test_no_output_comes_back_outside_of_dvc_or_with_a_damaged_lock(made, monkeypatch):
    remove_all()
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with pytest.raises(SystemExit):
        run(refuse)
    monkeypatch.setenv("DVC_STAGE", "export_onnx@a")
    Path("dvc.lock").write_text("stages: [")
    with pytest.raises(SystemExit) as ended:
        run(refuse)
    assert ended.value.code == 2 and not MODEL.exists()
