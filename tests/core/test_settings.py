"""What holds for each model, as the files that its stages depend on."""

import pytest
from helpers.params import SMALL, write_params

from parity.core.files import read_json, write_json
from parity.core.params import OWN_SETTINGS, load_params
from parity.core.paths import settings_path
from parity.core.settings import NETWORK, are_current, settings_of
from stages import settings

MODEL = "squeezenet1_1"
ENTRY = SMALL["models"][MODEL]
GIVEN = {"task": "classification", "preprocess": "imagenet", "onnx": "given.onnx"}


def differing(project, name: str, before: dict, after: dict) -> set[str]:
    """The files of a model that differ between two sets of changes to the small parameters."""
    contents = []
    for changes in (before, after):
        write_params(project, changes)
        contents.append(settings_of(load_params(), name))
    return {section for section in contents[0] if contents[0][section] != contents[1][section]}


def own(**sections) -> dict:
    return {"models": {MODEL: ENTRY | sections, "given": GIVEN}}


def test_the_stage_writes_what_holds_for_each_model(project):
    write_params(project, own(export={"exporter": "dynamo"}, opencv={"engine": "classic"}))
    settings.main([])
    written = {one: read_json(settings_path(MODEL, one)) for one in (NETWORK, *OWN_SETTINGS)}
    assert written == {
        "network": ENTRY,
        "export": {"exporter": "dynamo", "opset": 18, "dynamic_axes": ["batch"]},
        "opencv": SMALL["opencv"] | {"engine": "classic"},
        "inference": {"batch_size": 4},
        "benchmark": SMALL["benchmark"] | {"batch_size": 1},
    }
    assert read_json(settings_path("given", "export")) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": "probe"}, {"network"}),
        ({"export": {"exporter": "dynamo"}}, {"export"}),
        ({"export": {"exporter": "torchscript"}}, set()),  # as the global one
        ({"export": {}}, set()),
        ({"export": None}, set()),
        ({"opencv": {"target": "opencl"}}, {"opencv"}),
        ({"inference": {"batch_size": 1}}, {"inference"}),
        ({"benchmark": {"batch_size": 2}}, {"benchmark"}),
    ],
)
def test_a_models_own_setting_changes_one_file_of_this_model(project, changes, expected):
    assert differing(project, MODEL, own(), own(**changes)) == expected
    assert differing(project, "given", own(), own(**changes)) == set()


@pytest.mark.parametrize(
    ("key", "value", "section"),
    [
        ("export.opset", 17, "export"),
        ("opencv.engine", "new", "opencv"),
        ("inference.batch_size.classification", 2, "inference"),
        ("benchmark.batch_size.classification", 2, "benchmark"),
    ],
)
def test_a_global_setting_changes_the_models_that_do_not_override_it(project, key, value, section):
    field = key.split(".")[1]
    mine = own(**{section: {field: 17 if field == "opset" else "new" if field == "engine" else 2}})
    assert differing(project, MODEL, own(), own() | {key: value}) == {section}
    assert differing(project, MODEL, mine, mine | {key: value}) == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inference.batch_size.segmentation", 1),
        ("export.dynamic_axes.segmentation", ["batch"]),
        ("benchmark.batch_size.segmentation", 2),
        ("gate.spread", 0.5),
    ],
)
def test_the_setting_of_another_task_changes_nothing(project, key, value):
    assert differing(project, MODEL, own(), own() | {key: value}) == set()


def test_an_onnx_file_does_not_depend_on_the_export(project):
    changes = {"export.exporter": "dynamo", "export.opset": 17}
    assert differing(project, "given", own(), own() | changes) == set()


def test_settings_are_current_until_params_yaml_says_something_else(project):
    assert not are_current(load_params(), MODEL, (NETWORK, "export"))
    settings.main([])
    assert are_current(load_params(), MODEL, (NETWORK, "export"))
    write_params(project, own(opencv={"engine": "new"}))
    assert are_current(load_params(), MODEL, (NETWORK, "export"))
    assert not are_current(load_params(), MODEL, ("opencv",))
    write_json(settings_path(MODEL, NETWORK), {})
    assert not are_current(load_params(), MODEL, (NETWORK,))
