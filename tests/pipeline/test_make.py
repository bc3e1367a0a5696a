"""`make` around DVC: a way back from every damage, and results that are what their stages wrote."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.dvc_runs import CLS, digests, dvc, edit, make

pytestmark = pytest.mark.pipeline

LOCK = Path("dvc.lock")
KEPT = ("metrics", "models", "data/predictions")
NOTHING = "nothing has changed since the last run"


def cut_off(root: Path) -> None:
    content = (root / LOCK).read_text(encoding="utf-8")
    (root / LOCK).write_text(content[: len(content) // 2], encoding="utf-8")


def test_a_lock_that_a_run_left_cut_off_is_taken_back(copy):
    whole = (copy / LOCK).read_text(encoding="utf-8")
    (copy / ".dvc/tmp/dvc.lock.before").write_text(whole, encoding="utf-8")
    cut_off(copy)
    done = make(copy)
    assert (done.code, done.stages) == (0, [])
    assert "dvc.lock: damaged; taken back to what it was before the last run" in done.output
    assert (copy / LOCK).read_text(encoding="utf-8") == whole


def test_a_cut_off_lock_without_a_copy_is_one_line_that_names_the_way_back(copy):
    (copy / ".dvc/tmp/dvc.lock.before").unlink(missing_ok=True)
    cut_off(copy)
    done = make(copy)
    lines = [line for line in done.output.splitlines() if not line.startswith("make: ")]
    assert done.code == 2 and len(lines) == 1
    assert lines[0].startswith("error: dvc.lock: damaged (")
    assert lines[0].endswith("`git checkout dvc.lock` brings back the committed one")
    subprocess.run(["git", "checkout", "--quiet", "dvc.lock"], cwd=copy, check=True)
    assert make(copy).code == 0


@pytest.mark.parametrize("left", ["", '{"write": {"/data', "\0\0"])
def test_a_list_of_files_in_use_that_a_killed_run_left_cut_off_is_no_hindrance(copy, left):
    (copy / ".dvc/tmp/rwlock").write_text(left, encoding="utf-8")
    done = make(copy)
    assert (done.code, done.stages) == (0, []), done.output


def test_a_folder_without_git_works(copy):
    shutil.rmtree(copy / ".git")
    before = digests(copy, *KEPT)
    done = make(copy)
    assert (done.code, done.stages) == (0, [])
    assert "no Git repository here: DVC works without one" in done.output
    assert digests(copy, *KEPT) == before
    assert make(copy).output.count("no Git repository") == 0


def test_the_second_of_two_runs_is_refused_in_one_line(copy):
    from parity.core.files import locked

    with locked(copy / ".dvc/tmp", "taken"):
        done = make(copy)
    assert done.code == 2
    assert done.output.splitlines()[0] == (
        "error: .dvc/tmp: another `make` is running here; wait until it ends"
    )


def damage(path: Path) -> None:
    """Change one byte in place, as root or a tool that lifts the write protection can."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    path.chmod(mode)


@pytest.mark.parametrize("name", ["model.onnx", "weights.pth"])
def test_a_result_that_was_written_over_is_made_again(pipeline, copy, name):
    model = copy / f"models/{CLS}/{name}"
    before = digests(pipeline, *KEPT)
    damage(model)  # a hard link into the cache: its object is damaged too
    done = make(copy)
    assert done.code == 0
    assert f"models/{CLS}/{name}: not what " in done.output
    assert digests(copy, *KEPT) == before
    assert (copy / f".dvc/tmp/replaced/models/{CLS}/{name}").is_file()
    assert make(copy).stages == []


def test_a_damaged_object_of_the_cache_is_not_restored(pipeline, copy):
    before = digests(pipeline, *KEPT)
    damage(copy / f"models/{CLS}/model.onnx")
    shutil.rmtree(copy / "models")
    done = make(copy)
    assert done.code == 0
    assert digests(copy, *KEPT) == before


def test_verify_reads_every_byte(copy):
    assert make(copy, "verify").code == 0
    path = copy / f"models/{CLS}/model.onnx"
    stat = path.stat()
    damage(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # looks as it was
    done = make(copy, "verify")
    assert done.code and f"models/{CLS}/model.onnx: not what " in done.output


def test_a_factory_that_ends_the_process_fails_make_and_no_earlier_table_is_shown(pipeline, copy):
    (copy / "mine.py").write_text("import os\n\n\ndef build():\n    os._exit(0)\n")
    factory = {"factory": "mine:build", "weights": "random"}
    edit(copy, {f"models.{CLS}": {"task": "classification", "preprocess": "imagenet", **factory}})
    done = make(copy)
    assert done.code and done.stages[-1] == f"weights@{CLS}"
    named = f"params.yaml: models.{CLS}.factory: mine:build: its code ended the process with exit"
    assert f"error: {named} code 0; expected it to return\n" in done.output
    assert digests(copy, *KEPT) == digests(pipeline, *KEPT)
    for target in ("summary", "gate"):
        told = make(copy, target)
        assert told.code and "| model" not in done.output + told.output
        assert "not of the present inputs: params.yaml: models" in told.output


def test_plain_repro_still_works_beside_make(copy):
    assert make(copy).code == 0
    assert dvc(copy, "repro").stages == []


def test_dvc_is_not_started_where_nothing_has_changed(copy):
    assert make(copy).code == 0
    again = make(copy)
    assert again.code == 0 and NOTHING in again.output
    assert "Running stage" not in again.output and "skipping" not in again.output
    code = copy / "stages/gate.py"
    code.write_text(
        code.read_text(encoding="utf-8").replace("def main(", "X = 1\n\n\ndef main(", 1)
    )
    changed = make(copy)
    assert changed.stages == ["gate"] and NOTHING not in changed.output
    assert NOTHING in make(copy).output
    shutil.rmtree(copy / "data/evaluation")
    missing = make(copy)
    assert missing.code == 0 and NOTHING not in missing.output
    assert NOTHING in make(copy).output
