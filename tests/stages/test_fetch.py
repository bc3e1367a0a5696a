import json

import pytest
from helpers.checkout import REAL, needs_real, stage_process
from helpers.params import MISSING, own, write_params
from helpers.refusals import refused

from stages import fetch


@pytest.mark.parametrize(("name", "images", "train"), [("textures", 10, 20), ("shapes", 3, 3)])
def test_the_sample_is_written_and_listed(prepared, name, images, train):
    content = json.loads((prepared / "data" / name / "dataset.json").read_text())
    assert (len(content["val"]), len(content["train"])) == (images, train)
    assert content["root"] == f"data/{name}"
    for item in content["val"]:
        assert (prepared / content["root"] / item["image"]).is_file()


def test_a_users_folder_is_used_in_place(mine):
    fetch.main(["textures"])
    content = json.loads((mine.parent / "data/textures/dataset.json").read_text())
    assert content["root"] == "mine" and content["classes"] == ["cat", "dog"]
    assert [item["image"] for item in content["val"]] == ["images/a.png", "images/b.png"]
    assert [path.name for path in (mine.parent / "data/textures").iterdir()] == ["dataset.json"]


@pytest.mark.parametrize("name", ["images", "images/a.png", "val.txt"])
def test_a_link_to_where_the_pipeline_writes_is_refused(mine, name):
    inside = mine.parent / "data/textures/mine"
    inside.mkdir(parents=True)
    (mine / name).rename(inside / "moved")
    (mine / name).symlink_to(inside / "moved")
    with refused("params.yaml: datasets.textures.source: found ", "lies in data/textures"):
        fetch.main(["textures"])
    assert (inside / "moved").exists()


def test_a_list_beside_the_pipelines_folders_is_allowed(mine):
    (mine.parent / "data/shapes").mkdir(parents=True)
    (mine / "val.txt").rename("list.txt")
    write_params(mine.parent, own(classes="labels.txt", split="list.txt"))
    fetch.main(["textures"])


def test_a_tilde_is_the_home_folder(mine, monkeypatch):
    monkeypatch.setenv("HOME", str(mine.parent))
    write_params(mine.parent, own(classes="labels.txt", source="~/mine"))
    fetch.main(["textures"])
    assert (mine.parent / "data/textures/dataset.json").exists()


def test_a_dataset_that_cannot_be_read_leaves_the_earlier_result(mine):
    fetch.main(["textures"])
    before = (mine.parent / "data/textures/dataset.json").read_text()
    (mine / "val.txt").write_text("a.png 7\n")
    with refused("mine/val.txt:1: found class 7; expected 0 to 1"):
        fetch.main(["textures"])
    assert (mine.parent / "data/textures/dataset.json").read_text() == before
    assert [path.name for path in (mine.parent / "data").iterdir()] == ["textures"]


def test_a_dataset_that_is_not_in_params_is_refused(project):
    with refused("params.yaml: datasets.cifar: no such entry; there are shapes, textures"):
        fetch.main(["cifar"])


@needs_real
@pytest.mark.parametrize(
    ("name", "changes", "images"),
    [
        ("textures", {"source": str(REAL / "imagenet"), "classes": "imagenet"}, 100),
        ("shapes", {"source": str(REAL / "voc"), "classes": "voc", "split": "seg11valid"}, 2),
    ],
)
def test_real_datasets_are_fetched(project, name, changes, images):
    changes = {"train": "none"} | changes
    write_params(project, {f"datasets.{name}.{key}": value for key, value in changes.items()})
    fetch.main([name])
    content = json.loads((project / f"data/{name}/dataset.json").read_text())
    assert len(content["val"]) == images and content["train"] == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bencmark": {}, "benchmark": MISSING}, "bencmark: unknown key; did you mean benchmark?"),
        (own(), "datasets.textures.source: no such folder: mine"),
    ],
)
def test_wrong_input_ends_a_stage_with_code_2_and_one_line(tmp_path, changes, expected):
    write_params(tmp_path, changes)
    process = stage_process("fetch", "textures", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 2 and out == ""
    assert err.splitlines() == [err.rstrip("\n")]
    assert err.startswith(f"error: params.yaml: {expected}")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": "mine/val.txt"}, "datasets.textures.source: no such folder: mine/val.txt"),
        ({"classes": "images"}, "mine/images: found a folder; expected a regular file"),
        ({"split": "mine/images.txt"}, "mine/images.txt: found a folder"),
        ({"split": "mine/none.txt"}, "mine/none.txt: no such file"),
        ({"classes": "link"}, "mine/link: no such file"),
        ({"classes": "a\0b"}, "datasets.textures.classes: found"),
    ],
)
def test_a_file_in_place_of_a_folder_and_the_reverse_are_refused(mine, changes, expected):
    (mine / "images.txt").mkdir()
    (mine / "link").symlink_to("nowhere")
    write_params(mine.parent, own(**({"classes": "labels.txt"} | changes)))
    with refused(expected):
        fetch.main(["textures"])


def test_names_that_no_file_can_have_are_left_to_preprocess(mine):
    """It refuses or skips them, as it does every image that cannot be read."""
    (mine / "val.txt").write_text(f"a.png 0\n{'b' * 300}.png 1\n")
    fetch.main(["textures"])
    content = json.loads((mine.parent / "data/textures/dataset.json").read_text())
    assert len(content["val"]) == 2 and content["files"][f"images/{'b' * 300}.png"] is None
