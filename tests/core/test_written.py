"""The project knows the files that it wrote."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.refusals import refused

from parity.core.files import new_directory, new_file, write_text
from parity.core.written import NOTES, is_own, read_written, refuse_foreign


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    return tmp_path


def own(name: str) -> bool:
    return is_own(Path(name), read_written())


def test_a_file_is_own_until_it_changes(repository):
    for path in ("a.txt", repository / "below/b.txt"):
        write_text(Path(path), "mine")
    assert own("a.txt") and own("below/b.txt")
    Path("a.txt").write_text("another's")
    Path("below/c.txt").write_text("another's")
    assert not own("a.txt") and not own("below/c.txt") and not own("missing")


def test_the_files_of_a_folder_are_own_and_those_added_to_it_are_not(repository):
    for content in ("old", "new"):
        with new_directory(Path("out")) as partial:
            write_text(partial / "below/a.txt", content)
    Path("out/b.txt").write_text("another's")
    assert own("out/below/a.txt") and not own("out/b.txt")
    assert len(list(NOTES.iterdir())) == 1, "one note per target, none of a partial folder"


def test_a_failed_write_leaves_the_note_of_the_last_one(repository):
    write_text(Path("a.txt"), "mine")
    with pytest.raises(ZeroDivisionError), new_file(Path("a.txt")):
        raise ZeroDivisionError
    assert own("a.txt")


def test_no_note_is_kept_outside_of_a_repository(repository, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.txt"
    write_text(elsewhere, "mine")
    shutil.rmtree(".dvc")
    write_text(Path("b.txt"), "mine")
    assert read_written() == {} and not Path(".dvc").exists()


def test_a_damaged_note_makes_its_file_another_s(repository):
    write_text(Path("a.txt"), "mine")
    for damage in ("", "[]", '{"a.txt": 1}', "{"):
        next(NOTES.iterdir()).write_text(damage)
        assert not own("a.txt")


def test_a_tool_writes_over_its_own_file_alone(repository):
    target = Path("fixed.onnx")
    refuse_foreign(target)
    write_text(target, "mine")
    refuse_foreign(target)
    os.utime(target, (1, 1))
    with refused("fixed.onnx: exists and would be replaced"):
        refuse_foreign(target)
    Path("dangling").symlink_to("nowhere")
    with refused("dangling: exists"):
        refuse_foreign(Path("dangling"))
