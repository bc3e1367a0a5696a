import errno
import json
import os
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from helpers.checkout import ROOT
from helpers.folders import file_contents, replace_by
from helpers.refusals import refused

from parity.core.cli import InputError
from parity.core.files import (
    full_disk_refused,
    locked,
    new_directory,
    new_file,
    open_regular,
    read_json,
    read_json_if_whole,
    read_regular,
    reading,
    scratch_directory,
    write_json,
    write_text,
)
from parity.core.lockfile import md5_of
from parity.core.system_errors import UNWRITABLE, explain


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "below" / "a.txt"
    for text in ("old", "new"):
        with new_file(target) as partial:
            partial.write_text(text)
    assert target.read_text() == "new" and names(target.parent) == ["a.txt"]


def test_an_error_half_way_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), new_file(target) as partial:
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with new_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"


def test_a_new_directory_replaces_the_old_one_and_all_its_files(tmp_path):
    target = tmp_path / "below" / "a"
    for name in ("old", "new"):
        with new_directory(target) as partial:
            (partial / name).write_text(name)
    assert names(target) == ["new"] and names(target.parent) == ["a"]


def test_an_error_half_way_leaves_the_old_directory(tmp_path):
    target = tmp_path / "a"
    with new_directory(target) as partial:
        (partial / "old").write_text("old")
    with pytest.raises(ValueError), new_directory(target) as partial:
        (partial / "new").write_text("ne")
        raise ValueError
    assert names(target) == ["old"] and names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_scratch_directory_is_removed_and_files_renamed_from_it_stay(tmp_path, error):
    (tmp_path / ".target.1.partial").mkdir()
    expected = pytest.raises(error) if error else nullcontext()
    with expected, scratch_directory(tmp_path / "target") as scratch:
        (scratch / "renamed").write_text("renamed")
        (scratch / "left").write_text("left")
        (scratch / "renamed").replace(tmp_path / "target")
        if error:
            raise error
    assert names(tmp_path) == ["target"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".a.json.123.partial").write_text("half")
    (tmp_path / ".a.123.partial" / "below").mkdir(parents=True)
    (tmp_path / ".a.123.old.partial").mkdir()
    with new_directory(tmp_path / "a"):
        pass
    write_text(tmp_path / "a.json", "{}")
    assert names(tmp_path) == ["a", "a.json"]


def test_other_files_are_left_alone(tmp_path):
    for name in ("b.json", ".b.json.123.partial", "a.json.bak", ".a.json.x.1.partial"):
        (tmp_path / name).write_text(name)
    write_text(tmp_path / "a.json", "{}")
    assert names(tmp_path) == [
        *(".a.json.x.1.partial", ".b.json.123.partial", "a.json", "a.json.bak", "b.json")
    ]


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    # DVC links outputs to its cache: writing through the link would damage the cache.
    (tmp_path / "cache").write_text("old")
    os.link(tmp_path / "cache", tmp_path / "hard")
    (tmp_path / "soft").symlink_to(tmp_path / "cache")
    for name in ("hard", "soft"):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert (tmp_path / "cache").read_text() == "old"


def test_json_has_null_for_numbers_that_are_not_finite(tmp_path):
    nan, inf = float("nan"), float("inf")
    content = {"a": nan, "b": [1.5, inf, {"c": -inf}], "d": np.float64(nan), "e": "é", "f": (1, 2)}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    expected = {"a": None, "b": [1.5, None, {"c": None}], "d": None, "e": "é", "f": [1, 2]}
    assert json.loads(text) == expected
    assert "é" in text and text.endswith("}\n")


def test_an_object_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert names(tmp_path) == ["a.json"]


def test_a_folder_locked_by_another_process_is_refused_until_that_ends(tmp_path):
    code = f"""if True:
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from parity.core.files import locked
        with locked(Path({str(tmp_path)!r}), "busy"):
            print("locked", flush=True)
            input()
    """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline() == b"locked\n"
        with refused(f"{tmp_path}: busy"), locked(tmp_path, "busy"):
            pass
        process.kill()
    for _ in range(2):
        with locked(tmp_path, "busy"):
            pass


def test_a_full_disk_is_refused_with_what_is_free_and_the_details(tmp_path):
    reason = os.strerror(errno.ENOSPC).lower()
    with (
        refused(f"{tmp_path}: {reason}: ", " MB free, 7 MB needed"),
        full_disk_refused(tmp_path, lambda: "7 MB needed"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_another_os_error_keeps_its_type(tmp_path):
    with pytest.raises(PermissionError), full_disk_refused(tmp_path, lambda: "7 MB needed"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


NEW = {"file": new_file, "folder": new_directory}


@pytest.mark.parametrize("new", NEW.values(), ids=NEW)
@pytest.mark.parametrize("number", UNWRITABLE)
@pytest.mark.parametrize("wrapped", [None, RuntimeError("lost"), InputError("cannot be exported")])
def test_an_error_of_the_disk_names_what_could_not_be_written(tmp_path, new, number, wrapped):
    target = tmp_path / "target"
    with new(target) as partial:
        partial.touch()
    before = file_contents(tmp_path)
    with pytest.raises(OSError) as caught, new(target):
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            if wrapped:
                raise wrapped from None
            raise
    assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert file_contents(tmp_path) == before


@pytest.mark.parametrize("new", NEW.values(), ids=NEW)
def test_an_error_of_another_file_keeps_its_name(tmp_path, new):
    for path in (str(tmp_path / "input.png"), "/nowhere"):
        with pytest.raises(PermissionError) as caught, new(tmp_path / "target"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        assert caught.value.filename == path


@pytest.mark.parametrize("new", NEW.values(), ids=NEW)
def test_a_name_that_is_too_long_and_a_file_in_the_way_name_the_path(tmp_path, new):
    (tmp_path / "file").touch()
    for target in (tmp_path / ("a" * 250), tmp_path / "file/target"):
        with pytest.raises(OSError) as caught, new(target) as partial:
            partial.touch()
        assert ".partial" not in str(caught.value.filename)
        assert explain(caught.value)


def test_the_old_folder_is_back_when_the_new_one_cannot_take_its_place(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), new_directory(target) as partial:
        partial.rmdir()
    assert names(target) == ["old"] and names(tmp_path) == ["target"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"1", b"\xff", b"[" * 100_000])
def test_damaged_json_is_named_or_made_again(tmp_path, capsys, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with refused(f"{path}: damaged (", "); `make` writes it again"):
        read_json(path)
    assert read_json_if_whole(path) is None
    assert capsys.readouterr().err == f"{path}: damaged; it is made again\n"


def test_missing_json_is_made_without_a_word(tmp_path, capsys):
    assert read_json_if_whole(tmp_path / "a.json") is None
    (tmp_path / "b.json").mkdir()
    assert read_json_if_whole(tmp_path / "b.json") is None
    assert capsys.readouterr().err == f"{tmp_path}/b.json: is a directory; it is made again\n"


def test_what_the_system_refuses_to_read_is_no_damage(tmp_path):
    for error in (OSError(errno.EIO, "Input/output error"), MemoryError()):
        with pytest.raises(type(error)) as caught, reading(tmp_path / "a.npy"):
            raise error
    with pytest.raises(OSError) as caught, reading(tmp_path / "a.npy"):
        raise OSError(errno.EIO, "Input/output error")
    assert caught.value.filename == str(tmp_path / "a.npy")


@pytest.mark.parametrize("new", NEW.values(), ids=NEW)
def test_an_input_that_cannot_be_read_is_not_taken_for_the_output(tmp_path, new):
    with refused("a.png: input/output error"), new(tmp_path / "target"):
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError:
            raise InputError("a.png: input/output error") from None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("FIFO", "found a FIFO; expected a regular file"),
        ("socket", "found a socket"),
        ("folder", "found a folder"),
        ("/dev/zero", "found a device"),
        ("/dev/random", "found a device"),
        ("/dev/null", "found a device"),
        ("/dev/ptmx", "found a device"),
        ("/proc/kmsg", "/x.jpg: "),
        ("/proc/self/status", "found more than its 0 bytes"),
        ("/proc/self/mem", "x.jpg: input/output error"),
        ("/", "found a folder"),
        ("nowhere", "no such file"),
        ("x.jpg", "too many levels of symbolic links"),
    ],
)
def test_only_regular_files_are_read(tmp_path, kind, expected):
    path = replace_by(tmp_path / "x.jpg", kind)
    with refused(f"{path}: ", expected):
        read_regular(path, 100)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "none: no such file"),
        ("a.txt/b", "a.txt/b: no such file"),
        ("a" * 300, "file name too long"),
        ("a\0b", r"a\x00b: not a file name: embedded null byte"),
        ("\ud800", r"\ud800: not a file name: "),
    ],
)
def test_a_name_of_no_file_is_refused(tmp_path, name, expected):
    (tmp_path / "a.txt").touch()
    with refused(expected):
        open_regular(tmp_path / name)


def test_a_file_is_read_up_to_its_limit_and_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with refused(f"{tmp_path / 'link'}: found 5 bytes; expected at most 4"):
        read_regular(tmp_path / "link", 4)
    with open_regular(tmp_path / "file") as file:
        assert os.get_inheritable(file.fileno()) is False and file.read() == b"12345"


def test_a_file_that_grows_meanwhile_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    size = os.fstat

    def before_it_grew(descriptor: int) -> os.stat_result:
        stat = size(descriptor)
        with path.open("ab") as file:
            file.write(b"6")
        return stat

    monkeypatch.setattr(os, "fstat", before_it_grew)
    with refused(f"{path}: found more than its 6 bytes; is it still being written?"):
        read_regular(path, 100)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    """root may read everything, so the error is made."""

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with refused("file: permission denied"):
        open_regular(tmp_path / "file")


def test_a_result_replaced_by_a_fifo_is_refused_and_not_waited_for(tmp_path):
    with refused("model.onnx: found a FIFO; expected a regular file"):
        md5_of(replace_by(tmp_path / "model.onnx", "FIFO"))
