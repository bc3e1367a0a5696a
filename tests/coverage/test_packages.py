import sys
import zipfile

import pytest
from helpers.refusals import refused

from parity.coverage.packages import enter_folder, install


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with two versions of the package `tinynets`, the only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    for version in ("1.0", "1.1"):
        record = f"tinynets-{version}.dist-info"
        about = (
            f"Metadata-Version: 2.1\nName: tinynets\nVersion: {version}\nRequires-Dist: torch<1\n"
        )
        wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        with zipfile.ZipFile(folder / f"tinynets-{version}-py3-none-any.whl", "w") as archive:
            archive.writestr("tinynets.py", f"version = {version!r}\n")
            archive.writestr(f"{record}/METADATA", about)
            archive.writestr(f"{record}/WHEEL", wheel)
            archive.writestr(f"{record}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_an_exact_version_is_installed_without_its_dependencies(index, tmp_path):
    install(["tinynets==1.0"], tmp_path / "there", "key")
    assert (tmp_path / "there/tinynets.py").read_text() == "version = '1.0'\n"
    assert not (tmp_path / "there/torch").exists()


def test_a_version_that_does_not_exist_is_named_with_those_that_do(index, tmp_path):
    with refused("key: tinynets has no version 3.0; the last are 1.0, 1.1"):
        install(["tinynets==3.0"], tmp_path / "there", "key")


def test_a_folder_is_entered_once_and_before_all_others(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["before"])
    enter_folder(tmp_path)
    enter_folder(tmp_path)
    assert sys.path == [str(tmp_path), "before"]
