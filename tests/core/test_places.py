"""No file of the user's lies where the pipeline writes."""

import os
from pathlib import Path

import pytest
from helpers.params import SMALL, write_params
from helpers.refusals import refused

from parity.core import places
from parity.core.files import new_directory, new_file
from parity.core.params import load_params
from parity.core.places import check_inputs, check_places, foreign_files
from parity.core.places import places as all_places

DATASET = "datasets.textures"
MODEL = "models.squeezenet1_1"


def own_model(**fields) -> dict:
    return {MODEL: {"task": "classification", "preprocess": "imagenet"} | fields}


def dataset(**fields) -> dict:
    return {DATASET: SMALL["datasets"]["textures"] | fields}


def test_every_output_of_dvc_yaml_has_its_entries(project):
    found = {place.path: place for place in all_places(load_params())}
    assert found[Path("data/textures")].stage == "fetch@textures"
    assert found[Path("models/squeezenet1_1/model.onnx")].stage == "export_onnx@squeezenet1_1"
    assert not found[Path("metrics/squeezenet1_1.json")].is_cached
    assert {Path("plots/summary.md"), Path("metrics/overview.json")} <= found.keys()
    assert not any("$" in str(path) for path in found)


@pytest.mark.parametrize(
    "value",
    [
        "data/textures",
        "data/textures/",
        "data/textures/photos",
        "./data/../data/textures/photos/val",
        "data/shapes",
        "data/preprocessed/imagenet/val",
        "data/predictions/squeezenet1_1/opencv",
        "data/unfinished",
        "data/coverage/mine",
        "models/squeezenet1_1/weights.pth",
        ".dvc/cache",
        "plots/models/squeezenet1_1",
    ],
)
def test_a_dataset_does_not_lie_in_an_output(project, value):
    write_params(project, dataset(source=value))
    with refused(f"params.yaml: {DATASET}.source: found '{Path(value)}", "which lies in "):
        check_places(load_params())
    write_params(project, dataset(source=str(project / value)))
    with refused(f"{DATASET}.source", "which lies in "):
        check_places(load_params())


@pytest.mark.parametrize("value", [".", "data", "models", "..", "/", "data/..", "plots", "metrics"])
def test_a_dataset_holds_no_output(project, value):
    for folder in ("data/textures", "models", "plots", "metrics"):
        Path(folder).mkdir(parents=True)
    write_params(project, dataset(source=value))
    with refused(f"params.yaml: {DATASET}.source: found ", "which holds "):
        check_places(load_params())


@pytest.mark.parametrize("field", ["weights", "onnx"])
@pytest.mark.parametrize(
    "value",
    [
        "models/squeezenet1_1/model.onnx",
        "models/squeezenet1_1/weights.pth",
        "models/../models/squeezenet1_1/model.onnx",
        "data/textures/model.onnx",
        "data/evaluation/squeezenet1_1/x.onnx",
        "metrics/squeezenet1_1.json",
        ".dvc/tmp/x.onnx",
    ],
)
def test_a_model_does_not_lie_in_an_output(project, field, value):
    write_params(project, own_model(**{field: value}))
    with refused(f"params.yaml: {MODEL}.{field}: found '{value}'", "which lies in ", "inputs/"):
        check_places(load_params())


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"split": "data/textures/val.txt"}, "split"),
        ({"train": "data/shapes/train.txt"}, "train"),
        ({"classes": "../data/textures/classes.txt"}, "classes"),
        ({"classes": "/{}/models/squeezenet1_1/source.json"}, "classes"),
    ],
)
def test_a_list_does_not_lie_in_an_output(project, fields, key):
    fields = {name: value.replace("/{}", str(project)) for name, value in fields.items()}
    write_params(project, dataset(source="mine", **fields))
    with refused(f"{DATASET}.{key}: found ", "which lies in "):
        check_places(load_params())


def test_links_are_followed_in_every_way(project):
    inside, outside = project / "data/textures/mine", project / "photos"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
    outputs = all_places(load_params())
    (project / "in").symlink_to(inside)
    (project / "above").symlink_to(project / "data")
    (inside / "out").symlink_to(outside)
    (project / "chain").symlink_to(project / "in")
    for name in ("in", "above/textures", "data/textures/mine/out", "chain", "chain/x"):
        with refused("any.key: found ", "lies in data/textures"):
            check_inputs([("any.key", Path(name))], outputs)
    (project / "loop").symlink_to("loop")
    (project / "fine").symlink_to(outside)
    check_inputs([("any.key", Path(name)) for name in ("fine", "loop", "photos")], outputs)


def test_outputs_on_another_disk_are_recognised_by_both_names(project, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    (project / "models").symlink_to(disk)
    outputs = all_places(load_params())
    for path in (Path("models/squeezenet1_1/model.onnx"), disk / "squeezenet1_1/model.onnx"):
        with refused("any.key", "where the pipeline writes"):
            check_inputs([("any.key", path)], outputs)


def test_the_home_folder_is_expanded(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project))
    write_params(project, own_model(onnx="~/models/squeezenet1_1/model.onnx"))
    with refused(f"{MODEL}.onnx", "lies in models/squeezenet1_1/model.onnx"):
        check_places(load_params())
    write_params(project, own_model(onnx="~nobody-of-this-name/model.onnx"))
    with refused(f"{MODEL}.onnx", "there is no such user"):
        check_places(load_params())


def test_what_lies_beside_the_outputs_is_allowed(project):
    for path in ("data/photos", "data/downloads/mine", "models/bought", "inputs"):
        Path(path).mkdir(parents=True)
    Path("models/bought/bought.onnx").touch()
    os.link("models/bought/bought.onnx", "inputs/hard.onnx")
    for source in ("data/photos", "data/downloads/mine", "inputs", "sample", "imagenette"):
        write_params(project, dataset(source=source))
        check_places(load_params())
    for path in ("models/bought/bought.onnx", "inputs/hard.onnx", "DEFAULT", "probe"):
        write_params(project, own_model(weights=path))
        check_places(load_params())


def test_two_stages_do_not_write_to_one_place(project):
    both = [
        places.Place("fetch@a", Path("data/a"), True),
        places.Place("x", Path("data/a/b"), True),
    ]
    for order in (both, [both[0], places.Place("x", Path("data/a"), True)]):
        with refused("fetch@a and x both write data/a"):
            places._check_collisions(order)
    write_params(project, {"datasets.fingerprints": SMALL["datasets"]["textures"]})
    with refused("datasets.fingerprints: this name is taken"):
        load_params()


# Files at the places of the pipeline


@pytest.fixture
def repository(project) -> Path:
    (project / ".dvc").mkdir()
    return project


def foreign() -> list[str]:
    return [str(path) for path in foreign_files(all_places(load_params()))]


@pytest.mark.parametrize(
    "name",
    [
        "models/squeezenet1_1/weights.pth",
        "models/squeezenet1_1/model.onnx",
        "data/textures/mine/a.png",
        "data/predictions/squeezenet1_1/opencv/notes.txt",
        "plots/models/squeezenet1_1/mine.png",
    ],
)
def test_a_file_that_a_stage_would_replace_is_named(repository, name):
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text("mine")
    assert foreign() == [name]
    with refused(f"{name}: the pipeline did not write it and would replace it"):
        check_places(load_params())
    assert Path(name).read_text() == "mine"


def test_what_an_interrupted_run_wrote_is_not_foreign_until_it_changes(repository):
    with new_directory(Path("data/textures")) as partial:
        (partial / "a.png").write_bytes(b"drawn")
    with new_file(Path("models/squeezenet1_1/weights.pth")) as partial:
        partial.write_bytes(b"trained")
    Path("data/textures/.dataset.json.12.partial").touch()
    assert foreign() == []
    Path("data/textures/b.png").symlink_to("a.png")
    Path("data/textures/a.png").write_bytes(b"painted")
    assert foreign() == ["data/textures/a.png", "data/textures/b.png"]


def test_files_beside_the_outputs_and_those_that_git_keeps_are_not_foreign(repository):
    for name in ("models/squeezenet1_1/notes.txt", "metrics/squeezenet1_1.json", "data/x/a.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("mine")
    assert foreign() == []
