"""`make opencv-cpp`: the source is unpacked, configured, built and installed, or one line says why
not."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from parity.core.cli import InputError
from tools import opencv_cpp

LISTS = """cmake_minimum_required(VERSION 3.16)
project(tiny LANGUAGES NONE)
if(FAILS)
  message(FATAL_ERROR "it fails")
endif()
file(WRITE ${CMAKE_BINARY_DIR}/option.txt "${BUILD_LIST}")
install(FILES ${CMAKE_BINARY_DIR}/option.txt DESTINATION .)
"""


def write_archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


def test_opencv_alone_is_unpacked(tmp_path):
    files = {"a-1/opencv/modules/CMakeLists.txt": "x", "a-1/setup.py": "y", "a-1/opencv_x/z": "z"}
    opencv_cpp.unpack(write_archive(tmp_path / "a.tar.gz", files), tmp_path / "source")
    found = [path for path in (tmp_path / "source").rglob("*") if path.is_file()]
    assert [str(path.relative_to(tmp_path)) for path in found] == ["source/modules/CMakeLists.txt"]


def test_another_archive_is_refused(tmp_path):
    archive = write_archive(tmp_path / "a.tar.gz", {"a-1/setup.py": "y"})
    with pytest.raises(InputError, match="found no folder opencv; expected"):
        opencv_cpp.unpack(archive, tmp_path / "source")


def test_a_file_that_leaves_the_folder_is_not_unpacked(tmp_path):
    archive = write_archive(tmp_path / "a.tar.gz", {"a-1/opencv/../../x": "y"})
    with pytest.raises(tarfile.FilterError):
        opencv_cpp.unpack(archive, tmp_path / "in/source")
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(not shutil.which("cmake"), reason="not installed: cmake")
def test_a_project_is_configured_built_and_installed(tmp_path, capfd):
    (tmp_path / "CMakeLists.txt").write_text(LISTS)
    options = {"BUILD_LIST": "core,dnn", "CMAKE_INSTALL_PREFIX": str(tmp_path / "installed")}
    opencv_cpp.make(tmp_path, tmp_path / "build", options, jobs=1, install=True)
    assert (tmp_path / "installed/option.txt").read_text() == "core,dnn"
    assert capfd.readouterr().out == ""
    with pytest.raises(InputError, match="cmake has failed with exit code 1"):
        opencv_cpp.make(tmp_path, tmp_path / "build", {"FAILS": "ON"}, jobs=1)


def test_without_a_compiler_it_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="cmake: not found; expected CMake and a C\\+\\+ compiler"):
        opencv_cpp.main([])
