"""`make clean` removes what the pipeline made, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.folders import file_contents
from helpers.lock import lock_results, result, write
from helpers.refusals import refused

from parity.core.files import new_directory, new_file, write_text
from tools import clean

MODEL = "models/resnet50/model.onnx"
FOREIGN = (
    "data/photos/a.jpg",
    "data/textures/mine.png",
    "data/mine.npy",
    "data/downloads/imagenette2-160.tgz",
    "models/mine.pth",
    "models/resnet50/notes.txt",
    "plots/mine.png",
    "plots/demo/mine.png",
    "plots/models/resnet50/mine.png",
    "dvc_plots/mine.html",
    "parity/mine/__pycache__/mine.txt",
    ".pytest_cache/mine",
)


@pytest.fixture
def made(project) -> Path:
    """A project after a run; metrics and tables lie in Git, the rest in DVC's cache."""
    lock_results(
        fetch__textures=[result("data/textures", {"a.png": b"1", "train/b.png": b"2"})],
        export_onnx__resnet50=[result(MODEL, b"graph")],
        infer_opencv__resnet50=[result("data/predictions/resnet50/opencv", {"logits.npy": b"3"})],
        evaluate__resnet50=[result("metrics/resnet50.json", b"{}", cached=False)],
        summary=[
            result("plots/parity.png", b"picture"),
            result("plots/parity.csv", b"table", cached=False),
        ],
    )
    for name in (*PICTURES, "COVERAGE.md"):
        write(name, b"in Git")
    return project


PICTURES = {
    *("plots/coverage.png", "plots/coverage-timm.png", "plots/operators.png", "plots/readme/a.png")
}
STAY = {"metrics/resnet50.json", "plots/parity.csv"} | PICTURES


def test_the_folder_of_quick_runs_goes_and_not_what_it_links_to(made):
    for name in ("data/quick/.dvc/config", "data/quick/metrics/gate.json", "data/downloads/a.tgz"):
        write(name, b"1")
    Path("data/quick/data").mkdir()
    Path("data/quick/data/downloads").symlink_to(Path("data/downloads").absolute())
    clean.main([])
    assert not Path("data/quick").exists() and Path("data/downloads/a.tgz").exists()


def left() -> set[str]:
    return {
        name
        for folder in ("data", "models", "metrics", "plots")
        for name in (f"{folder}/{file}" for file in file_contents(Path(folder)))
    }


def test_results_go_and_what_git_keeps_stays(made, capsys):
    cache = file_contents(Path(".dvc"))
    clean.main([])
    assert left() == STAY
    assert not Path("data").exists() and not Path("models").exists()
    assert file_contents(Path(".dvc")) == cache and not capsys.readouterr().err


@pytest.mark.parametrize("everything", [[], ["--all"]])
def test_the_users_files_stay_and_are_named(made, capsys, everything):
    for name in FOREIGN:
        write(name, b"mine")
    clean.main(everything)
    assert all(Path(name).read_bytes() == b"mine" for name in FOREIGN)
    assert left() == STAY | {name for name in FOREIGN if name.startswith(("data", "mod", "plots"))}
    assert (
        "data/photos/a.jpg: kept, as it is not what the pipeline wrote" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", [MODEL, "data/textures/a.png", "plots/parity.png"])
def test_a_changed_result_stays_and_is_named(made, capsys, name):
    Path(name).write_bytes(b"changed")
    clean.main([])
    assert left() == STAY | {name}
    assert capsys.readouterr().err == f"{name}: kept, as it is not what the pipeline wrote\n"


def test_a_link_of_the_users_stays_with_what_it_leads_to(made):
    write("photos/a.jpg", b"mine")
    Path("data/photos").symlink_to("../photos")
    Path("data/textures/link.png").symlink_to("a.png")
    clean.main([])
    assert Path("data/photos/a.jpg").read_bytes() == b"mine"
    assert Path("data/textures/link.png").is_symlink()


def test_what_no_stage_finished_goes_too(made):
    with new_file(Path("models/new/weights.pth")) as partial:
        partial.write_bytes(b"interrupted before DVC wrote dvc.lock")
    with new_file(Path("plots/demo/resnet50-a.png")) as partial:
        partial.write_bytes(b"by a tool")
    write("data/unfinished/resnet50/opencv/logits.npy", b"half")
    write("data/unfinished/resnet50/opencv/masks/a.png", b"half")
    write("data/unfinished/resnet50/opencv/progress.json", b"{}")
    write("data/.textures.123.partial/a.png", b"half")
    write("models/resnet50/.model.onnx.123.old.partial", b"half")
    clean.main([])
    assert left() == STAY


def test_without_the_cache_no_result_is_removed(made):
    shutil.rmtree(".dvc/cache")
    before = left()
    clean.main([])
    assert left() == before


def test_without_dvc_lock_nothing_is_known(made):
    Path("dvc.lock").unlink()
    before = left()
    clean.main([])
    assert left() == before


def test_a_damaged_dvc_lock_is_named_and_nothing_is_removed(made):
    Path("dvc.lock").write_text("stages: [")
    before = left()
    with refused("dvc.lock: damaged"):
        clean.main([])
    assert left() == before


def test_caches_of_its_own_code_go(made):
    write("parity/core/__pycache__/a.cpython-311.pyc", b"code")
    write("mine/__pycache__/a.cpython-311.pyc", b"code of the user's")
    write(".ruff_cache/CACHEDIR.TAG", b"Signature")
    write("dvc_plots/static/a.png", b"picture")
    write("dvc_plots/index.html", b"page")
    clean.main([])
    assert not any(Path(name).exists() for name in ("parity", ".ruff_cache", "dvc_plots"))
    assert Path("mine/__pycache__/a.cpython-311.pyc").exists()


def test_all_removes_what_is_costly_to_make_again(made, capsys):
    with new_directory(Path("data/downloads/imagenette")) as partial:
        write(partial / "val/a.jpg", b"fetched")
    write_text(Path("data/coverage/cells/a.json"), "{}")
    for name in ("operators", "devices"):
        write_text(Path(f"data/{name}/a.json"), "{}")
    write("data/downloads/imagenette/mine.jpg", b"mine")
    write("data/opencv-cpp/build-5/core.o", b"built")
    write(".dvc/tmp/replaced/models/a/model.onnx", b"set aside")
    write(".dvc/tmp/btime", b"")
    write(".dvc/config", b"settings")
    clean.main([])
    costly = {
        *("data/downloads/imagenette/val/a.jpg", "data/coverage/cells/a.json"),
        *("data/operators/a.json", "data/devices/a.json"),
    }
    assert costly | {"data/opencv-cpp/build-5/core.o"} <= left()
    clean.main(["--all"])
    assert left() == STAY | {"data/downloads/imagenette/mine.jpg"}
    kept = {"config", "tmp/replaced/models/a/model.onnx"}
    assert file_contents(Path(".dvc")).keys() == kept
    assert ".dvc/tmp/replaced/models/a/model.onnx: kept" in capsys.readouterr().err


# The Makefile


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    shutil.copy(ROOT / "Makefile", folder)
    path = {"PATH": f"{folder}/empty:/usr/bin:/bin", "HOME": str(folder)}
    command = ["make", "--directory", str(folder), *words]
    return subprocess.run(command, env=path, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("target", ["clean", "distclean"])
def test_without_the_packages_nothing_is_removed(made, target):
    write("empty/python", b"#!/bin/sh\nexit 1\n")
    Path("empty/python").chmod(0o755)
    before = file_contents(made)
    done = make(made, target)
    assert done.returncode == 2 and "nothing is removed" in done.stderr.splitlines()[0]
    assert {**file_contents(made), "Makefile": b""} == before | {"Makefile": b""}


@pytest.mark.parametrize("target", ["install", "distclean"])
def test_a_folder_that_is_no_environment_of_this_project_is_never_removed(made, target):
    write("empty/python", b"#!/bin/sh\n")
    Path("empty/python").chmod(0o755)
    write("venv/pyvenv.cfg", b"of the user's")
    for folder in ("venv", "data/textures"):
        before = file_contents(made / folder)
        done = make(made, target, f"VENV={folder}", "PYTHON=false")
        assert file_contents(made / folder) == before
        assert (done.returncode == 2) == (target == "install")
    if target == "distclean":
        write("venv/installed", f"Python 3.99\n{made}\n".encode())
        make(made, target, "VENV=venv")
        assert not Path("venv").exists()
