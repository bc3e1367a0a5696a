"""Archives: nothing is extracted outside the target folder, and failures are named."""

import tarfile

import pytest
from helpers.archives import every_evil, member, write_tar
from helpers.refusals import refused

from parity.datasets.archives import check_archive


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


def test_a_python_without_the_data_filter_extracts_nothing(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", {"good": b"x"})
    monkeypatch.delattr(tarfile, "data_filter")
    with refused("the archive: found Python 3.", "expected 3.10.12, 3.11.4 or later"):
        check_archive(path, "the archive")
