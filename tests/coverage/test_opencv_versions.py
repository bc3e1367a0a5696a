import shutil
from pathlib import Path

import cv2
import pytest
from helpers.coverage import OPENCV, random_outputs
from helpers.loaders import load_opencv_and_check_folder
from helpers.refusals import refused

from parity.backends.isolated import IsolatedForward
from parity.core.params import OpenCVParams, load_params
from parity.coverage.opencv_versions import engines_of, parse_versions, provide

VERSION = "1.2.3"


@pytest.fixture
def folder(project):
    """The folder of a version of OpenCV, still empty."""
    folder = project / f"data/coverage/opencv-{VERSION}"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.process
def test_the_opencv_of_a_folder_is_the_one_that_runs(converted):
    version = f"{cv2.__version__}.0"  # as a package's, with the number of a build
    folder = converted / f"data/coverage/opencv-{version}"
    folder.mkdir(parents=True)
    installed = Path(cv2.__file__).parent
    for library in (installed, *installed.parent.glob("opencv_python*.libs")):
        shutil.copytree(library, folder / library.name)
    assert provide(version) == folder and provide(OPENCV) is None
    assert engines_of(version, folder) == ["auto", "classic", "new"]
    how = OpenCVParams(**load_params().opencv.model_dump() | {"engine": "new", "threads": 1})
    backend = (load_opencv_and_check_folder, folder, converted / "dynamo.onnx", how)
    with IsolatedForward(*backend, limit_s=60) as forward:
        assert forward(random_outputs((2, 3, 64, 64))).shape == (2, 10)


@pytest.mark.process
def test_a_folder_without_opencv_is_refused(folder):
    missing = f"there is none in {folder}; remove this folder"
    with refused(f"OPENCV: {VERSION} cannot be loaded: {missing}"):
        engines_of(VERSION, provide(VERSION))


@pytest.mark.process
def test_an_opencv_that_does_not_load_is_refused(folder):
    (folder / "cv2").mkdir()
    (folder / "cv2/__init__.py").write_text("raise ImportError('built for another numpy')")
    with refused(f"OPENCV: {VERSION} cannot be loaded: built for another numpy"):
        engines_of(VERSION, provide(VERSION))


@pytest.mark.process
@pytest.mark.parametrize("found", ["1.2.30", "5.0.0"])
def test_a_folder_with_another_opencv_is_refused(folder, found):
    (folder / "cv2.py").write_text(
        f"__version__ = {found!r}\nclass error: pass\nclass dnn: pass\n"
        "def getBuildInformation(): return ''\n"
    )
    other = f"found OpenCV {found} in {folder}; remove this folder"
    with refused(f"OPENCV: {VERSION} cannot be loaded: {other}"):
        engines_of(VERSION, provide(VERSION))


def test_a_version_that_pip_does_not_find_leaves_no_folder(project, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with refused("OPENCV: pip cannot install opencv-python 0.0.1: "):
        provide("0.0.1")
    assert not list(project.glob("data/coverage/opencv*"))


def test_the_default_is_the_installed_version():
    assert parse_versions("") == [OPENCV]
    assert parse_versions("4.14.0.94, 4.13.0.92 4.14.0.94") == ["4.14.0.94", "4.13.0.92"]


@pytest.mark.parametrize("text", ["five", "--index-url=x"])
def test_what_is_no_version_is_refused(text):
    with refused(f"OPENCV: found '{text}'; expected a version"):
        parse_versions(text)
