import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.checkout import ROOT
from helpers.params import MEAN, STD, write_params
from helpers.refusals import refused

from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split
from stages import export_onnx

EXPORTERS = ["dynamo", "torchscript"]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_metadata_holds_what_a_user_needs(converted, exporter):
    model = onnx.load(converted / f"{exporter}.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["model"], metadata["task"]) == ("squeezenet1_1", "classification")
    assert (metadata["weights"], metadata["exporter"], metadata["opset"]) == (
        "random",
        exporter,
        "18",
    )
    classes = (converted / "data/textures/classes.txt").read_text().splitlines()
    assert json.loads(metadata["classes"]) == classes
    preprocess = json.loads(metadata["preprocess"])
    assert (preprocess["color"], preprocess["scale"]) == ("RGB", 1 / 255)
    assert (preprocess["mean"], preprocess["std"]) == (MEAN, STD)
    assert preprocess["size"]["crop"] == 64


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_file_holds_no_path_of_this_machine(converted, exporter):
    content = (converted / f"{exporter}.onnx").read_bytes()
    for place in ("site-packages", str(ROOT), str(Path(torch.__file__).parent), str(converted)):
        assert place.encode() not in content


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_two_exports_of_the_same_weights_have_the_same_bytes(converted, exporter):
    write_params(converted, {"export.exporter": exporter})
    export_onnx.main(["squeezenet1_1"])
    again = (converted / "models/squeezenet1_1/model.onnx").read_bytes()
    assert again == (converted / f"{exporter}.onnx").read_bytes()


def test_a_fixed_batch_is_one_image(converted):
    one = {"inference.batch_size.classification": 1, "export.dynamic_axes.classification": []}
    write_params(converted, one)
    export_onnx.main(["squeezenet1_1"])
    model = onnx.load(converted / "models/squeezenet1_1/model.onnx")
    shape = model.graph.input[0].type.tensor_type.shape
    assert [axis.dim_value for axis in shape.dim] == [1, 3, 64, 64]


def test_a_models_own_settings_hold_for_its_export(converted):
    own = {"export": {"opset": 17, "dynamic_axes": []}, "inference": {"batch_size": 1}}
    write_params(converted, {f"models.squeezenet1_1.{key}": value for key, value in own.items()})
    export_onnx.main(["squeezenet1_1"])
    model = onnx.load(converted / "models/squeezenet1_1/model.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["exporter"], metadata["opset"]) == ("torchscript", "17")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_failed_export_leaves_the_earlier_file(converted):
    path = converted / "models/squeezenet1_1/model.onnx"
    before = path.read_bytes()
    write_params(converted, {"export.opset": 26})
    with refused("squeezenet1_1: cannot be exported (exporter torchscript, opset 26)"):
        export_onnx.main(["squeezenet1_1"])
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.glob(".*")] == []


def test_the_metadata_is_enough_to_repeat_the_preprocessing(converted):
    model = onnx.load(converted / "dynamo.onnx")
    metadata = json.loads({entry.key: entry.value for entry in model.metadata_props}["preprocess"])
    images = Split("imagenet", "val", "classification").images(0, 2)
    by_hand = (images * metadata["scale"] - np.array(metadata["mean"])) / np.array(metadata["std"])
    blob = normalize(images, MEAN, STD)
    np.testing.assert_allclose(by_hand.transpose(0, 3, 1, 2), blob, atol=1e-6)
