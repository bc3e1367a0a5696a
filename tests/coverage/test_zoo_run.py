"""Runs of `make coverage` with a zoo beside torchvision."""

import json
from pathlib import Path

import pytest
from helpers.coverage import OPENCV, cell_figures, column
from helpers.params import write_params
from helpers.refusals import refused
from helpers.zoos import ENTRY, ZOO, write_zoo

from parity.core.params import load_params
from parity.coverage.cells import Cell, Combination, current_figures, read_cells, write_cell
from parity.coverage.record import check_nothing_is_lost, read_record
from parity.coverage.report import FULL, NARROWED, report_full
from parity.coverage.selection import parse_models, parse_zoo
from parity.coverage.zoo import zoo_entry
from tools import coverage

COMBINATION = Combination("torchscript", 18, "new", OPENCV)
FILES = NARROWED.of_zoo(ZOO)


def cell(model: str) -> Cell:
    return Cell(model, "classification", COMBINATION, ZOO)


def is_done(model: str) -> bool:
    return current_figures(cell(model), load_params()) is not None


@pytest.mark.process
def test_each_model_of_a_zoo_has_a_verdict_also_where_its_factory_fails(project):
    write_zoo(project, "broken", "complex")
    flags = ["--zoo", ZOO, "--exporters", "torchscript", "--engines", "new", "--jobs", "1"]
    coverage.main(flags)
    models = read_record(FILES.record)["models"]
    cells = {name: model["cells"][column("torchscript")] for name, model in models.items()}
    assert {name: (one["verdict"], one["owner"]) for name, one in cells.items()} == {
        "broken": ("refused", "model"),
        "complex": ("not exportable", "export"),
        "plain": ("same", None),
        "wide": ("same", None),
    }
    failed = "coverage.zoo.tiny.factory: tinynets:create raised ValueError: no such network: broken"
    assert failed in cells["broken"]["reason"]
    assert models["plain"]["parameters"] == (3 * 9 * 4 + 4 + 8 + 4 * 5 + 5) / 1e6
    assert models["wide"]["own"] == {"arguments": {"kind": "plain", "width": 8}, "size": "32x48"}
    (wide,) = [one for one in read_cells(load_params(), ZOO) if one["model"] == "wide"]
    assert [group["blob"] for group in wide["groups"]] == ["1x3x32x48", "2x3x32x48"]
    page = " ".join(FILES.page.read_text(encoding="utf-8").split())  # its lines are wrapped
    assert "Which of tiny's models" in page and "`make coverage ZOO=tiny`" in page
    assert "| wide (32x48) |" in page and "tinynets 1.0" in page
    assert FILES.picture.exists() and not Path("data/coverage/cells").exists()


def test_a_models_own_arguments_override_the_zoos(project):
    write_zoo(project)
    entries = [zoo_entry(name, "classification", load_params(), ZOO) for name in ("plain", "wide")]
    plain = {"kind": "plain", "outputs": 5, "scale": 0.5}
    assert [one.arguments for one in entries] == [plain, plain | {"width": 8}]
    assert {one.factory for one in entries} == {"tinynets:create"}


@pytest.mark.parametrize(
    ("changes", "still"),
    [
        ({"packages": ["tinynets==1.1"]}, set()),
        ({"arguments": {}}, set()),
        ({"models": ["plain", "wide"]}, {"plain"}),
        ({"models": ["plain", *ENTRY["models"][1:], "new"]}, {"plain", "wide"}),
    ],
    ids=["packages", "arguments", "own", "new"],
)
def test_a_cell_depends_on_its_zoo_and_on_its_model(project, changes, still):
    write_zoo(project)
    for name in ("plain", "wide"):
        write_cell(cell(name), cell_figures(), load_params())
        assert is_done(name)
    report_full(load_params(), ZOO)
    for path in Path("data/coverage").glob("cells-*/*/*.json"):
        assert json.loads(path.read_text())["zoo"] == ZOO
    write_zoo(project, **changes)
    assert {name for name in ("plain", "wide") if is_done(name)} == still
    for path in Path("data/coverage").glob("cells-*/*/*.json"):
        path.unlink()
    lost = 2 - len(still)
    if lost:
        with refused(f"metrics/coverage-{ZOO}.json: {lost} of its cells ({lost} models, "):
            check_nothing_is_lost(load_params(), zoo=ZOO)
    else:
        check_nothing_is_lost(load_params(), zoo=ZOO)


def test_a_zoo_leaves_torchvisions_cells_and_files_alone(project):
    torchvisions = Cell("squeezenet1_1", "classification", COMBINATION)
    write_params(project)
    write_cell(torchvisions, cell_figures(), load_params())
    before = torchvisions.path.read_bytes()
    assert "zoo" not in json.loads(before) and "own" not in json.loads(before)["depends"]
    write_zoo(project)
    assert current_figures(torchvisions, load_params())
    write_cell(cell("plain"), cell_figures(), load_params())
    report_full(load_params(), ZOO)
    assert not FULL.record.exists() and not FULL.page.exists()
    record = read_record("metrics/coverage-tiny.json", ZOO)
    assert record["models"].keys() == {"plain"}
    assert record["constants"]["sizes"] == {"classification": ["64x64"]}
    assert record["constants"]["versions"]["tinynets"] == "1.0"
    assert Path("COVERAGE-tiny.md").exists() and Path("plots/coverage-tiny.png").exists()


def test_an_unknown_zoo_or_model_is_refused(project):
    write_zoo(project)
    params = load_params()
    assert parse_zoo("", params) == "torchvision" and parse_zoo(ZOO, params) == ZOO
    with refused("ZOO: found 'tim'; expected one of torchvision, tiny"):
        parse_zoo("tim", params)
    assert parse_models("", params, ZOO) == dict.fromkeys(["plain", "wide"], "classification")
    with refused("MODELS: found 'plan'; did you mean plain?"):
        parse_models("plan", params, ZOO)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"packages": ["timm"]}, "zoo.tiny.packages.0: found 'timm'; expected name==version"),
        ({"packages": ["timm==1 --index x"]}, "expected name==version"),
        ({"factory": "timm"}, "zoo.tiny.factory: found 'timm'; expected package.module:function"),
        ({"models": []}, "zoo.tiny.models: found []; expected at least one entry"),
        ({"models": ["a/b"]}, "zoo.tiny.models.0.name: found 'a/b'; expected letters"),
        ({"models": ["a", "a"]}, "zoo.tiny.models: found 'a' twice"),
        ({"models": [{"name": "a", "size": "224"}]}, "models.0.size: found '224'; expected height"),
    ],
)
def test_a_zoo_that_is_none_is_refused(project, changes, expected):
    write_zoo(project, **changes)
    with refused("params.yaml: coverage.", expected):
        load_params()


def test_names_of_files_are_not_taken_twice(project):
    write_params(project, {"coverage.zoo": {"torchvision": ENTRY}})
    with refused("coverage.zoo.torchvision: this name is taken"):
        load_params()
    model = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    changes = {"coverage.zoo": {ZOO: ENTRY}, "models": {"coverage-tiny": model}}
    write_params(project, changes)
    with refused("models.coverage-tiny: this name is taken"):
        load_params()
