"""`make QUICK=1`: which params and stages a quick run has, and what it refuses."""

import json
from pathlib import Path

from helpers.dvc_runs import TEMPLATES
from helpers.params import changed, own, write_params
from helpers.refusals import refused

from parity.core.params import load_params
from parity.core.paths import QUICK
from tools import quick

MINE = {"task": "classification", "preprocess": "imagenet", "weights": "mine.pth"}


def params_of(project: Path, changes: dict, *names: str) -> dict:
    """The params.yaml of a quick run, as a run reads it."""
    write_params(project, changes)
    content = quick.quick_params(changed(changes), load_params(), list(names or ["squeezenet1_1"]))
    (project / "quick.yaml").write_text(json.dumps(content))
    load_params(Path("quick.yaml"))
    return content


def test_there_are_few_images_in_a_drawn_order_and_the_rest_is_as_it_was(project):
    changes = {"sample.classification": {"train": 20, "val": 3}, "exact.images.classification": 8}
    before, content = changed(changes), params_of(project, changes)
    assert content["datasets"].keys() == {"textures"}
    assert content["datasets"]["textures"] == before["datasets"]["textures"] | {
        "limit": 4,
        "shuffle": True,
    }
    assert content["sample"]["classification"] == {"train": 4, "val": 3}
    assert content["exact"]["images"] == {"classification": 2, "segmentation": 1}
    same = before.keys() - {"datasets", "sample", "preprocess", "exact"}
    assert {key: content[key] for key in same} == {key: before[key] for key in same}


def test_a_limit_that_is_smaller_stays(project):
    content = params_of(project, {"datasets.textures.limit": 3})
    assert content["datasets"]["textures"]["limit"] == 3


def test_one_model_brings_only_what_it_needs(project):
    models = {"one": MINE | {"weights": "random"}, "two": MINE | {"weights": "probe"}}
    overrides = {"one": {"rel": 1e-3}, "two": {"rel": 1e-2}}
    content = params_of(project, {"models": models, "gate.overrides": overrides}, "two")
    assert content["models"] == {"two": models["two"]}
    assert content["preprocess"].keys() == {"imagenet"}
    assert content["gate"]["overrides"] == {"two": {"rel": 1e-2}}


def test_files_that_are_named_from_here_are_found_from_the_quick_runs_folder(project):
    for name in ("mine.pth", "mine/val.txt", "list.txt"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()
    content = params_of(
        project, {"models": {"mine": MINE}} | own(split="list.txt", classes="labels.txt"), "mine"
    )
    assert content["models"]["mine"]["weights"] == str(project / "mine.pth")
    dataset = content["datasets"]["textures"]
    assert dataset["source"] == str(project / "mine")
    assert dataset["split"] == str(project / "list.txt")
    assert (dataset["train"], dataset["classes"]) == ("none", "labels.txt")


def test_a_name_is_no_file_though_there_is_one_of_that_name(project):
    for name in ("sample", "random", "DEFAULT.pth"):
        (project / name).touch()
    content = params_of(project, {})
    assert content["datasets"]["textures"]["source"] == "sample"
    assert content["models"]["squeezenet1_1"]["weights"] == "random"
    assert quick.from_anywhere("IMAGENET1K_V1") == "IMAGENET1K_V1"
    assert quick.from_anywhere("x" * 999) == "x" * 999


def test_the_pipeline_has_no_stage_and_no_file_of_times_pictures_and_the_report():
    stages = quick.quick_pipeline({"stages": TEMPLATES})["stages"]
    left_out = {"benchmark", "plot", "details", "vega", "report"}
    assert TEMPLATES.keys() - stages.keys() == left_out
    text = json.dumps(stages)
    absent = ("metrics/benchmark", "data/rounds", ".png", ".csv", ".html", "data/details")
    assert not [name for name in absent if name in text]
    assert stages["results"]["do"]["cmd"] == "python -m stages.results ${key} --quick"
    assert stages["gate"]["cmd"] == "python -m stages.gate --quick"
    assert stages["evaluate"] == TEMPLATES["evaluate"]


def test_an_unknown_model_is_refused_before_anything_is_written(project):
    with refused("params.yaml: models.resnet51: no such entry"):
        quick.main(["resnet51"])
    assert not QUICK.exists()


def test_the_second_of_two_runs_is_refused(project):
    from parity.core.files import locked

    (QUICK / ".dvc/tmp").mkdir(parents=True)
    with locked(QUICK / ".dvc/tmp", "taken"), refused("another `make QUICK=1` is running here"):
        quick.main([])
