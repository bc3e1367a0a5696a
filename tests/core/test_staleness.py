"""Whether a recorded result is that of the present inputs, as dvc.lock tells."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.lock import locked_entry, write_lock
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.lockfile import locked_stages, md5_of_folder
from parity.core.staleness import check_current

END = Path("metrics/gate.json")
CHANGES = Callable[[], object]


def write(path: str | Path, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def ran() -> None:
    """Leave what a run leaves; the verdict does not depend on the last of its stages."""
    for path in (
        *("data/shapes/c.png", "data/textures/a.png", "data/textures/deep/b.png"),
        *("data/predictions/one/x.npy", "data/results/one.json", "data/results/two.json", END),
    ):
        write(path, "{}")
    gate = locked_entry([str(END)], ("data/results",), ("models", "gate"))
    inside = ("data/textures/deep", "data/textures/a.png", "params.yaml")
    write_lock(
        {
            "gate": gate,
            "results@one": locked_entry(["data/results/one.json"], ("data/predictions/one",)),
            "results@two": locked_entry(["data/results/two.json"]),
            "infer@one": locked_entry(["data/predictions/one"], inside, ("export.opset",)),
            "fetch@textures": locked_entry(["data/textures"], (), ("datasets.textures", "seed")),
            "fetch@shapes": locked_entry(["data/shapes"], (), ("sample.segmentation",)),
        }
    )


@pytest.fixture
def current(project) -> Path:
    """A project after a run."""
    ran()
    check_current(END)
    return project


def set_param(**changes: object) -> CHANGES:
    return lambda: write_params(
        Path(), {key.replace("__", "."): value for key, value in changes.items()}
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: write(str(END), '{"verdict": "pass"}'), f"{END} is not what gate wrote"),
        (set_param(models={}), "models: "),
        (set_param(gate__spread=0.02), "params.yaml: gate has changed"),
        (set_param(export__opset=17), "params.yaml: export.opset has changed"),
        (set_param(seed=1), "params.yaml: seed has changed"),
        (set_param(datasets__textures__limit=5), "params.yaml: datasets.textures has changed"),
        (lambda: write("data/results/one.json", "1"), "one.json is not what results@one wrote"),
        (lambda: write("data/predictions/one/x.npy", "1"), "x.npy is not what infer@one wrote"),
        (lambda: write("data/textures/deep/b.png", "1"), "b.png is not what fetch@textures wrote"),
        (lambda: Path("dvc.lock").unlink(), "dvc.lock knows no stage that wrote it"),
        (lambda: write_lock({}), "dvc.lock knows no stage that wrote it"),
        (lambda: write("dvc.lock", "stages: ["), "dvc.lock: damaged"),
        (lambda: Path("params.yaml").unlink(), "params.yaml: no such file"),
    ],
)
def test_a_result_of_other_inputs_is_refused(current, change, reason):
    change()
    with refused(reason):
        check_current(END)


@pytest.mark.parametrize("stage", ["results@one", "results@two", "infer@one", "fetch@textures"])
def test_a_result_from_before_an_earlier_stage_ran_again_is_refused(current, stage):
    """As a run leaves it that fails half-way."""
    before = locked_stages()
    (out,) = [Path(out["path"]) for out in before[stage]["outs"]]
    for file in [path for path in (out, *out.rglob("*")) if path.is_file()]:
        file.write_text("made again", encoding="utf-8")
    again = locked_entry([str(out)])
    write_lock(before | {stage: before[stage] | {"outs": again["outs"]}})
    with refused(f"{END}: not of the present inputs: ", " has changed since ", "`make` renews it"):
        check_current(END)


@pytest.mark.parametrize(
    "change",
    [
        lambda: os.utime(END, (time.time() + 86400,) * 2),
        lambda: os.utime("data/results/one.json", (0, 0)),
        lambda: shutil.rmtree("data"),
        lambda: shutil.rmtree(".dvc"),
        lambda: [shutil.rmtree("data"), shutil.rmtree(".dvc")],
        lambda: write("data/mine.txt", "mine"),
        set_param(sample__segmentation__train=4),
        lambda: write("params.yaml", f"# a comment\n{Path('params.yaml').read_text()}"),
    ],
    ids=[
        *("a time of tomorrow", "an old time", "make clean", "no cache", "a fresh clone"),
        *("another's file", "another stage's constant", "a comment"),
    ],
)
def test_what_changes_no_input_refuses_nothing(current, change):
    change()
    check_current(END)


def test_a_folders_hash_is_dvcs():
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    files = {"b.json": "1" * 32, "a/b.json": "2" * 32, "a.json": "3" * 32, "ä.json": "4" * 32}
    tree = Tree()
    for path, md5 in files.items():
        tree.add(tuple(path.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    assert md5_of_folder(files) == tree.hash_info.value
