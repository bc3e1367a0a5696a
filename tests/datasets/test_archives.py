"""Archives: nothing is extracted outside the target folder, and failures are named."""

import io
import tarfile

import pytest
from helpers.archives import every_evil, member, write_tar
from helpers.refusals import refused

from parity.core.cli import InputError
from parity.datasets.archives import check_archive, refuse_bad_archive


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.gz"])
def test_an_archive_of_files_in_folders_is_accepted(tmp_path, name):
    link = member("folder/link", tarfile.SYMTYPE, "file")
    check_archive(write_tar(tmp_path / name, {"folder/file": b"x"}, link), name)


@every_evil
def test_a_member_that_leaves_the_folder_is_refused_by_name(tmp_path, evil, reason):
    with refused("the archive: ", reason):
        check_archive(write_tar(tmp_path / "a.tar", {"good": b"x"}, evil), "the archive")


@pytest.mark.parametrize("name", ["a.tar", "a.tgz"])
def test_an_archive_that_is_cut_off_is_refused(tmp_path, name):
    content = write_tar(tmp_path / name, {"one": bytes(range(256)) * 40, "two": b"x"}).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 3])
    with refused("the archive: not a tar archive, or cut off"):
        check_archive(tmp_path / name, "the archive")


def test_a_file_that_is_not_an_archive_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"<html>Not found</html>")
    with refused("the archive: not a tar archive, or cut off"):
        check_archive(tmp_path / "a.tar", "the archive")


@pytest.mark.parametrize("name", ["a\0b", "a\0b/../../c", "x" * 5000, "\udcff"])
def test_a_strange_name_in_an_extended_header_ends_in_one_line(tmp_path, name):
    info = tarfile.TarInfo("good")
    info.pax_headers = {"path": name}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())
    try:
        check_archive(tmp_path / "a.tar", "the archive")
    except InputError as error:
        assert str(error).startswith("the archive: ")


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), RecursionError(), EOFError()])
def test_whatever_reading_an_archive_raises_is_one_line(error):
    expected = ("the archive: not a tar archive, or cut off (", type(error).__name__)
    with refused(*expected), refuse_bad_archive("the archive"):
        raise error


def test_a_python_without_the_data_filter_extracts_nothing(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", {"good": b"x"})
    monkeypatch.delattr(tarfile, "data_filter")
    with refused("the archive: found Python 3.", "expected 3.10.12, 3.11.4 or later"):
        check_archive(path, "the archive")
