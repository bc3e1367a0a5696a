import pytest
from helpers.coverage import OPENCV
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.params import load_params
from parity.coverage.selection import (
    parse_engines,
    parse_exporters,
    parse_models,
    select,
)

ENGINES = ["auto", "classic", "new"]
OLDER = {"4.1.0": ["classic"]}


@pytest.fixture
def two_models(project):
    """A project whose runs try squeezenet1_0 and squeezenet1_1 unless told otherwise."""
    write_params(project, {"coverage.max_parameters": 1.3})


def selection(models="", exporters="", engines="", available=None):
    params = load_params()
    return select(
        parse_models(models, params),
        parse_exporters(exporters, params),
        engines,
        available or {OPENCV: ENGINES},
        params,
    )


@pytest.mark.parametrize(
    ("chosen", "narrowed"),
    [
        ({}, False),
        ({"models": "squeezenet1_1"}, True),
        ({"models": "squeezenet1_1 squeezenet1_0"}, False),
        ({"exporters": "dynamo"}, True),
        ({"exporters": "dynamo torchscript dynamo:20"}, False),
        ({"exporters": "dynamo:20 torchscript:20"}, True),
        ({"engines": "new"}, True),
        ({"engines": "new classic auto"}, False),
        ({"available": {OPENCV: ENGINES} | OLDER}, False),
        ({"available": OLDER}, True),
    ],
    ids=str,
)
def test_a_run_is_narrowed_that_leaves_out_a_cell_of_a_run_without_flags(
    two_models, chosen, narrowed
):
    assert selection(**chosen).narrowed == narrowed


def test_every_model_is_tried_in_every_combination_one_exporter_after_the_other(two_models):
    chosen = selection(available={OPENCV: ENGINES} | OLDER)
    assert list(map(str, chosen.combinations)) == [
        f"{exporter} 18, {engine}"
        for exporter in ("dynamo", "torchscript")
        for engine in (f"classic {OPENCV}", f"new {OPENCV}", "classic 4.1.0")
    ]
    cells = chosen.cells("squeezenet1_0")
    assert [cell.combination for cell in cells] == list(chosen.combinations)
    assert {(cell.model, cell.task) for cell in cells} == {("squeezenet1_0", "classification")}


def test_lists_take_commas_and_spaces_and_an_opset(project):
    params = load_params()
    assert parse_exporters("", params) == [("dynamo", 18), ("torchscript", 18)]
    exporters = [("dynamo", 20), ("dynamo", 18)]
    assert parse_exporters("dynamo:20, dynamo dynamo:18", params) == exporters
    assert list(parse_models("resnet18,alexnet resnet18", params)) == ["resnet18", "alexnet"]
    assert parse_engines("new, auto", "5.0.0", ENGINES) == ["new", "auto"]
    assert parse_engines(" ", "5.0.0", ENGINES) == ["classic", "new"]


def test_an_unknown_or_too_large_model_is_refused(project):
    params = load_params()
    with refused("MODELS: found 'resnet51'; did you mean resnet"):
        parse_models("resnet51", params)
    with refused("vit_h_14 has 633 million parameters; coverage.max_parameters is 200"):
        parse_models("vit_h_14", params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("onnx", "EXPORTERS: found 'onnx'; expected one of dynamo, torchscript"),
        (":18", "EXPORTERS: found ''; expected one of dynamo, torchscript"),
        ("dynamo:7", "EXPORTERS: dynamo: found opset '7'; expected 11 to 26"),
        ("dynamo:", "EXPORTERS: dynamo: found opset ''; expected 11 to 26"),
    ],
)
def test_an_unknown_exporter_or_opset_is_refused(project, text, expected):
    with refused(expected):
        parse_exporters(text, load_params())


def test_an_engine_that_a_version_does_not_have_is_refused():
    with refused("ENGINES, OpenCV 4.1.0: found 'new'; expected one of classic"):
        parse_engines("new", "4.1.0", ["classic"])
