import json
import re
from functools import partial

import pytest
from helpers.checkout import ROOT
from helpers.params import MISSING, SMALL, changed, model_entry, write_params
from helpers.refusals import refused

from parity.core.params import (
    RESERVED_DATASETS,
    RESERVED_MODELS,
    DynamicAxes,
    ExportParams,
    count_kept,
    entry,
    load_params,
    of_model,
    setting_key,
)
from stages import check_params


def keys(content: dict, parents: tuple[str, ...] = ()) -> list[str]:
    """All dotted keys, sections and values alike."""
    found = []
    for key, value in content.items():
        found.append(".".join((*parents, key)))
        if isinstance(value, dict):
            found += keys(value, (*parents, key))
    return found


ENTRIES = ("datasets.", "preprocess.", "models.")
REQUIRED = [key for key in keys(SMALL) if not (key.startswith(ENTRIES) and key.count(".") == 1)]
VALUES = [key for key in keys(SMALL) if key not in {"preprocess.imagenet.task"}]


def test_values_are_read_as_they_are_written(project):
    assert load_params().model_dump(exclude_unset=True) == SMALL


def test_the_projects_own_params_are_valid():
    load_params(ROOT / "params.yaml")


def test_a_float_may_be_written_without_a_point(project):
    text = json.dumps(SMALL).replace('"ridge": 0.001', '"ridge": 1e-3')
    (project / "params.yaml").write_text(text)
    assert load_params().probe.ridge == 0.001


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("datasets.textures.limit", 5),
        ("parity.images.segmentation", "all"),
        ("opencv.threads", 3),
        ("preprocess.imagenet.mean", [0, 0, 1]),
        ("preprocess.imagenet.std", [1, 1.0, 1e-3]),
        ("preprocess.imagenet.exif", "ignore"),
        ("preprocess.voc.exif", "apply"),
        ("preprocess.imagenet.size.crop", 72),
        ("export.dynamic_axes.segmentation", []),
    ],
)
def test_accepted(project, key, value):
    write_params(project, {key: value})
    assert load_params().model_dump(exclude_unset=True) == changed({key: value})


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(project, key):
    write_params(project, {key: MISSING})
    path = key.replace("preprocess.imagenet.task", "preprocess.imagenet: task")
    path = path.replace("preprocess.voc.task", "preprocess.voc: task")
    with refused("params.yaml: ", path, "missing"):
        load_params()


@pytest.mark.parametrize("key", VALUES)
def test_a_value_of_the_wrong_type_is_named_with_its_key(project, key):
    write_params(project, {key: [[]]})
    path = key.replace("preprocess.voc.task", "preprocess.voc: task")
    with refused(f"params.yaml: {path}", "found [", "expected "):
        load_params()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "found -1; expected greater than or equal to 0"),
        ("seed", 1.5, "found 1.5; expected integer"),
        ("seed", None, "found None; expected integer"),
        ("export.opset", "18", "found '18'; expected integer"),
        ("export.opset", 5, "found 5; expected greater than or equal to 11"),
        ("export.exporter", "onnx", "found 'onnx'; expected 'dynamo' or 'torchscript'"),
        ("export.dynamic_axes.classification", ["height"], "found 'height'; expected 'batch'"),
        ("datasets.textures.task", "detection", "found 'detection'; expected 'classification'"),
        ("datasets.textures.limit", 0, "limit: found 0; expected `all` or an integer"),
        ("datasets.textures.limit", "some", "limit: found 'some'; expected `all` or an integer"),
        ("datasets.textures.limit", True, "limit: found True; expected `all` or an integer"),
        ("datasets.textures.split", "../val", "found '../val'; expected letters, digits, _ and"),
        ("models", {}, "found {}; expected at least one entry"),
        ("probe.batch_size.segmentation", 1, "found 1; expected greater than or equal to 2"),
        ("preprocess.imagenet.task", "detect", "found 'detect'; expected 'classification'"),
        ("preprocess.imagenet", None, "found None; expected keys with values"),
        ("preprocess.imagenet.mean", [0, 0], "found [0, 0]; expected list of 3 values"),
        ("preprocess.imagenet.std", [0.2, 0, 0.2], "std.1: found 0; expected greater than 0"),
        ("preprocess.imagenet.std", [0.2, -1, 0.2], "std.1: found -1; expected greater than 0"),
        ("preprocess.imagenet.std", [0.2, 57.4, 0.2], "std.1: found 57.4; expected at most 1: "),
        ("preprocess.imagenet.std", [1, 1, 1.01], "std.2: found 1.01; expected at most 1: "),
        ("preprocess.voc.mean", [123.7, 0, 0], "mean.0: found 123.7; expected at most 1: pixels"),
        ("preprocess.voc.mean", [0.5, 0.5, 255], "mean.2: found 255; expected at most 1: pixels"),
        ("preprocess.voc.mean", [-0.1, 0, 0], "mean.0: found -0.1; expected greater than or equal"),
        ("preprocess.voc.exif", "turn", "found 'turn'; expected 'ignore' or 'apply'"),
        ("preprocess.voc.exif", True, "found True; expected 'ignore' or 'apply'"),
        ("preprocess.imagenet.size", "own", "found 'own'; expected keys with values"),
        ("preprocess.imagenet.size.crop", 73, "found 73; expected at most resize, 72"),
        ("preprocess.imagenet.size.resize", 10**6, "expected less than or equal to 16384"),
        ("preprocess.voc.size", "whole", "found 'whole'; expected 'own'"),
        (
            "coverage.sizes.segmentation",
            ["64"],
            "0: found '64'; expected height x width, such as 224x320",
        ),
        ("coverage.sizes.segmentation", [], "found []; expected at least one entry"),
        ("coverage.images", 1, "found 1; expected greater than or equal to 2"),
        ("inference.batch_size.segmentation", 2, "found 2; expected 1"),
        ("benchmark.confidence", 100, "found 100; expected less than 100"),
        ("benchmark.runs", 1, "found 1; expected greater than or equal to 2"),
        ("preprocess.imagenet.dataset", "nowhere", "'nowhere'; expected one of shapes, textures"),
        ("preprocess.imagenet.dataset", "shapes", "'shapes' is for segmentation; expected one for"),
        ("models.squeezenet1_1.preprocess", "nothing", "'nothing'; expected one of imagenet, voc"),
        ("models.squeezenet1_1.preprocess", "voc", "'voc' is for segmentation; expected one for"),
        ("datasets.predictions", SMALL["datasets"]["textures"], "taken; choose another"),
        ("models.a b", SMALL["models"]["squeezenet1_1"], "found 'a b'; expected letters, digits"),
        ("models./etc", SMALL["models"]["squeezenet1_1"], "found '/etc'; expected letters, digits"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(project, key, value, expected):
    write_params(project, {key: value})
    path = key.replace("preprocess.imagenet.task", "preprocess.imagenet: task")
    with refused(f"params.yaml: {path}", expected):
        load_params()


def test_a_batch_needs_a_batch_axis(project):
    write_params(project, {"export.dynamic_axes.classification": []})
    with refused("params.yaml: inference.batch_size.classification: found 4; expected 1"):
        load_params()


# A model's own settings

MINE = "models.squeezenet1_1"
GIVEN = {"task": "classification", "preprocess": "imagenet", "onnx": "given.onnx"}


def test_a_models_own_settings_override_the_global_ones(project):
    own = {
        f"{MINE}.export": {"exporter": "dynamo", "dynamic_axes": []},
        f"{MINE}.opencv": {"engine": "classic"},
        f"{MINE}.inference": {"batch_size": 1},
        "models.given": GIVEN,
    }
    write_params(project, own)
    params = load_params()
    mine, given = of_model(params, "squeezenet1_1"), of_model(params, "given")
    axes = DynamicAxes(classification=[], segmentation=["batch", "height", "width"])
    assert mine.export == ExportParams(exporter="dynamo", opset=18, dynamic_axes=axes)
    assert mine.opencv == params.opencv.model_copy(update={"engine": "classic"})
    assert mine.inference.batch_size.of("classification") == 1
    assert mine.benchmark == params.benchmark
    assert mine.models == {"squeezenet1_1": model_entry(preprocess="imagenet")}
    assert given == params.model_copy(update={"models": {"given": params.models["given"]}})
    with refused("params.yaml: models.none: no such entry; there are given, squeezenet1_1"):
        of_model(params, "none")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"export": {"opset": 5}}, "export.opset: found 5; expected greater than or equal to 11"),
        ({"export": {"exporter": 1}}, "export.exporter: found 1; expected 'dynamo' or"),
        ({"export": {"exporte": "dynamo"}}, "export.exporte: unknown key; did you mean exporter?"),
        ({"export": "dynamo"}, "export: found 'dynamo'; expected keys with values"),
        ({"export": {"dynamic_axes": ["depth"]}}, "export.dynamic_axes.0: found 'depth'; expected"),
        (
            {"export": {"dynamic_axes": ["batch", "height"]}},
            "export.dynamic_axes.1: found 'height'; expected 'batch'",
        ),
        ({"opencv": {"engine": 5}}, "opencv.engine: found 5; expected string"),
        ({"opencv": {"threads": 1}}, "opencv.threads: unknown key"),
        ({"opencv": {"enigne": "new"}}, "opencv.enigne: unknown key; did you mean engine?"),
        ({"opencvs": {}}, "opencvs: unknown key; did you mean opencv?"),
        ({"inference": {"batch_size": 0}}, "inference.batch_size: found 0; expected greater than"),
        (
            {"inference": {"batch_size": 2}, "task": "segmentation", "preprocess": "voc"},
            "inference.batch_size: found 2; expected 1",
        ),
    ],
)
def test_a_wrong_setting_of_a_model_is_named_with_its_key(project, own, expected):
    write_params(project, {MINE: SMALL["models"]["squeezenet1_1"] | own})
    with refused(f"params.yaml: {MINE}.{expected}"):
        load_params()


def test_an_onnx_file_is_not_exported(project):
    write_params(project, {"models.given": GIVEN | {"export": {"opset": 18}}})
    with refused("params.yaml: models.given.export: not used with `onnx`"):
        load_params()


def test_a_model_without_a_batch_axis_of_its_own_needs_a_batch_of_one_of_its_own(project):
    write_params(project, {f"{MINE}.export": {"dynamic_axes": []}})
    advice = f"as {MINE}.export.dynamic_axes has no `batch`: set {MINE}.inference.batch_size: 1"
    with refused(f"inference.batch_size.classification: found 4; expected 1, {advice}"):
        load_params()
    sizes = {f"{MINE}.inference": {"batch_size": 1}, "export.dynamic_axes.classification": []}
    write_params(project, sizes)
    load_params()
    write_params(project, sizes | {f"{MINE}.inference": {"batch_size": 3}})
    with refused(f"{MINE}.inference.batch_size: found 3; expected 1, as export.dynamic_axes.class"):
        load_params()


def test_the_key_of_a_setting_is_the_models_own_or_the_global_one(project):
    write_params(project, {f"{MINE}.export": {"opset": 17}})
    key = partial(setting_key, load_params(), "squeezenet1_1")
    assert key("export", "opset") == f"{MINE}.export.opset"
    assert key("export", "exporter") == "export.exporter"
    assert key("export", "dynamic_axes") == "export.dynamic_axes.classification"
    assert key("opencv", "engine") == "opencv.engine"


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_non_finite_number_is_refused(project, value):
    text = json.dumps(SMALL).replace('"ridge": 0.001', f'"ridge": .{value}')
    (project / "params.yaml").write_text(text)
    with refused("params.yaml: probe.ridge", f"found {value}", "finite"):
        load_params()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("benchmark", "bencmark"),
        ("export.opset", "export.opsett"),
        ("preprocess.imagenet.size.keep_aspect", "preprocess.imagenet.size.keep_aspekt"),
        ("models.squeezenet1_1.weights", "models.squeezenet1_1.weight"),
    ],
)
def test_a_misspelt_key_is_named_with_the_closest_one(project, right, wrong):
    write_params(project, {wrong: SMALL["seed"], right: MISSING})
    meant = right.rsplit(".", maxsplit=1)[-1]
    with refused(f"params.yaml: {wrong}: unknown key; did you mean {meant}?"):
        load_params()


@pytest.mark.parametrize("key", ["colour", "opencv.colour", "datasets.textures.colour"])
def test_an_unknown_key_beside_all_others_is_named(project, key):
    write_params(project, {key: 1})
    with refused(f"params.yaml: {key}: unknown key"):
        load_params()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found None; expected keys with values"),
        ("# nothing\n", "found None; expected keys with values"),
        ("- a\n- b\n", "found ['a', 'b']; expected keys with values"),
        ("seed: [1,\n", "not valid YAML"),
        ("\0", "not valid YAML"),
        ("1: 2\n", "found the key 1 (int); expected text"),
        ("seed: 2024-01-01\n", "seed: found the date 2024-01-01; expected"),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused(project, text, expected):
    (project / "params.yaml").write_text(text)
    with refused("params.yaml:", expected):
        load_params()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("datasets.textures.source", "a\0b", r"found 'a\x00b'; expected no control character"),
        ("datasets.textures.classes", "a\nb", r"found 'a\nb'; expected no control character"),
        ("datasets.textures.source", "k" * 300_000, "expected at most 1000 characters"),
        ("datasets.textures.split", "k" * 300_000, "expected at most 1000 characters"),
        ("datasets.textures.split", "k b" * 300, "expected letters, digits, _ and -"),
        ("seed", [["k" * 20] * 200] * 90, "expected integer"),
        ("k" * 1000, 1, "unknown key"),
        (
            "models." + "k" * 300,
            SMALL["models"]["squeezenet1_1"],
            "expected at most 100 characters",
        ),
        ("a\n\x1b[31m", 1, r"params.yaml: a\n\x1b[31m: unknown key"),
    ],
)
def test_a_value_of_any_length_is_refused_in_a_short_line(project, key, value, expected):
    write_params(project, {key: value})
    with refused("params.yaml: ", expected) as message:
        load_params()
    assert len(message[0]) < 1000


def test_a_file_that_is_not_text_is_refused(project):
    (project / "params.yaml").write_bytes(b"\xff\xfe\xfa")
    with refused("params.yaml: not valid YAML"):
        load_params()


def test_a_missing_file_is_refused(tmp_path):
    with refused(f"{tmp_path / 'params.yaml'}: no such file"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_entry_is_refused_with_those_that_exist(project):
    params = load_params()
    assert entry(params, "models", "squeezenet1_1").weights == "random"
    with refused("params.yaml: datasets.cifar: no such entry; there are shapes, textures"):
        entry(params, "datasets", "cifar")


def test_a_limit_keeps_the_first_images_or_all():
    assert [count_kept("all", 7), count_kept(3, 7), count_kept(9, 7)] == [7, 3, 7]


def test_check_params_accepts_what_can_run(project):
    check_params.main([])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"models.resnet5O": SMALL["models"]["squeezenet1_1"]},
            "models.resnet5O: torchvision has no classification model of this name; did you mean "
            "resnet50?",
        ),
        (
            {"models.fcn_resnet50": SMALL["models"]["squeezenet1_1"]},
            "models.fcn_resnet50: torchvision has no classification model of this name",
        ),
        ({"opencv.engine": "fast"}, "opencv.engine: found 'fast'; expected one of auto, classic"),
        (
            {"models.squeezenet1_1.opencv": {"engine": "fast"}},
            "models.squeezenet1_1.opencv.engine: found 'fast'; expected one of auto, classic",
        ),
        (
            {"models.squeezenet1_1.opencv": {"target": "cuda"}},
            "models.squeezenet1_1.opencv.target: found 'cuda', which this OpenCV",
        ),
    ],
)
def test_check_params_refuses_what_cannot_run(project, changes, expected):
    write_params(project, changes)
    with refused(f"params.yaml: {expected}"):
        check_params.main([])


def test_no_dataset_and_no_model_takes_the_name_of_a_folder_or_file_of_the_projects():
    rooms = [ROOT / name for name in ("parity", "stages", "tools")]
    files = [ROOT / "dvc.yaml", *(file for room in rooms for file in room.rglob("*.py"))]
    text = "".join(file.read_text("utf-8") for file in files)
    folders = set(re.findall(r'\bdata/([\w-]+)(?=[/"\s,)])', text)) - {"light"}  # an example
    assert folders <= set(RESERVED_DATASETS) and len(folders) > 15
    assert set(re.findall(r"\bmetrics/([\w-]+)\.json", text)) == set(RESERVED_MODELS)
