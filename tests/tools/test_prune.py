"""What is left of an entry that params.yaml no longer has."""

from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.lock import lock_results, locked_entry, result, write_lock
from helpers.params import SMALL, write_params
from helpers.refusals import refused
from ruamel.yaml import YAML

from tools import prune


@pytest.fixture
def locked(project) -> Path:
    """A project that made results of `squeezenet1_1` and of a model that is gone, `old`."""
    (project / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    stages = {"check_params": [result("data/checked.txt", b"valid")]}
    for model in ("squeezenet1_1", "old"):
        opencv = f"data/predictions/{model}/opencv"
        stages |= {
            f"weights__{model}": [result(f"models/{model}/weights.pth", b"w")],
            f"infer_opencv__{model}": [result(opencv, {"a": b"1", "b": b"2"})],
            f"evaluate__{model}": [result(f"metrics/{model}.json", b"{}", cached=False)],
        }
    lock_results(**stages)
    return project


def files() -> set[str]:
    return {
        str(path)
        for folder in ("data", "models", "metrics")
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def locked_stages() -> set[str]:
    return set(YAML(typ="safe").load(Path("dvc.lock"))["stages"])


def test_results_of_an_entry_that_is_gone_are_removed_and_all_others_stay(locked, capsys):
    before, stages = files(), locked_stages()
    prune.main([])
    assert files() == {name for name in before if "old" not in name}
    assert not Path("models/old").exists() and not Path("data/predictions/old").exists()
    assert locked_stages() == {name for name in stages if not name.endswith("@old")}
    assert capsys.readouterr().err == "old: no longer in the pipeline: removed 3 results\n"
    lock = Path("dvc.lock").read_bytes()
    prune.main([])
    assert Path("dvc.lock").read_bytes() == lock and not capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("models/old/weights.pth").write_bytes(b"trained elsewhere"),
        lambda: Path("data/predictions/old/opencv/c").write_bytes(b"3"),
        lambda: Path("data/predictions/old/opencv/a").unlink(),
        lambda: [path.unlink() for path in Path(".dvc/cache/files/md5").rglob("*.dir")],
    ],
    ids=["file", "file more", "file less", "no cache"],
)
def test_what_the_pipeline_did_not_write_stays_and_is_named(locked, capsys, change):
    change()
    before = files()
    prune.main([])
    kept = {name for name in before & files() if "old" in name}
    assert kept
    assert "kept, as it is not what the pipeline wrote" in capsys.readouterr().err


def test_a_folder_that_others_read_is_locked_as_it_is_left(project):
    """Else `summary` and `gate` would run again, and the last verdict would not be the present."""
    (project / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    one = {"cmd": "x", "outs": [result("data/results/squeezenet1_1.json", b"{}")]}
    old = {"cmd": "x", "outs": [result("data/results/old.json", b"{}")]}
    gate = locked_entry([], ("data/results",))
    write_lock({"results@squeezenet1_1": one, "results@old": old, "gate": gate})
    prune.main([])
    (dep,) = YAML(typ="safe").load(Path("dvc.lock"))["stages"]["gate"]["deps"]
    (left,) = locked_entry([], ("data/results",))["deps"]
    assert dep["md5"] == left["md5"] != gate["deps"][0]["md5"]
    assert (dep["size"], dep["nfiles"]) == (2, 1)


def test_what_the_pipeline_never_made_stays(locked):
    Path("models/old/notes.txt").write_text("mine")
    Path("models/mine.pth").write_bytes(b"mine")
    prune.main([])
    assert {"models/old/notes.txt", "models/mine.pth"} <= files()


def test_an_entry_that_is_there_and_a_project_that_never_ran_lose_nothing(project, locked):
    write_params(project, {"models": SMALL["models"] | {"old": SMALL["models"]["squeezenet1_1"]}})
    before = files()
    prune.main([])
    Path("dvc.lock").unlink()
    prune.main([])
    assert files() == before


def test_a_damaged_dvc_lock_is_named_and_nothing_is_removed(locked):
    Path("dvc.lock").write_text("stages: [")
    before = files()
    with refused("dvc.lock: damaged"):
        prune.main([])
    assert files() == before


def test_a_stage_that_dvc_yaml_no_longer_has_is_forgotten(project):
    """Its missing output would have `make` ask DVC's cache for it in every run."""
    (project / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    lock_results(versions=[result("data/versions", b"1")])
    prune.main([])
    assert not Path("data/versions").exists()
    assert not YAML(typ="safe").load(Path("dvc.lock"))["stages"]
