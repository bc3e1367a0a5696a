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
def test_the_file_says_what_one_needs_to_use_it(converted, exporter):
    model = onnx.load(converted / f"{exporter}.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert (said["model"], said["task"]) == ("squeezenet1_1", "classification")
    assert (said["weights"], said["exporter"], said["opset"]) == ("random", exporter, "18")
    classes = (converted / "data/textures/classes.txt").read_text().splitlines()
    assert json.loads(said["classes"]) == classes
    preprocess = json.loads(said["preprocess"])
    assert (preprocess["color"], preprocess["scale"]) == ("RGB", 1 / 255)
    assert (preprocess["mean"], preprocess["std"]) == (MEAN, STD)
    assert preprocess["size"]["crop"] == 64


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_file_says_nothing_of_this_machine(converted, exporter):
    content = (converted / f"{exporter}.onnx").read_bytes()
    for place in ("site-packages", str(ROOT), str(Path(torch.__file__).parent), str(converted)):
        assert place.encode() not in content


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_two_exports_of_the_same_weights_are_the_same_file(converted, exporter):
    write_params(converted, {"export.exporter": exporter})
    export_onnx.main(["squeezenet1_1"])
    again = (converted / "models/squeezenet1_1/model.onnx").read_bytes()
    assert again == (converted / f"{exporter}.onnx").read_bytes()


def test_a_batch_that_may_not_change_is_one_image(converted):
    one = {"inference.batch_size.classification": 1, "export.dynamic_axes.classification": []}
    write_params(converted, one)
    export_onnx.main(["squeezenet1_1"])
    model = onnx.load(converted / "models/squeezenet1_1/model.onnx")
    shape = model.graph.input[0].type.tensor_type.shape
    assert [axis.dim_value for axis in shape.dim] == [1, 3, 64, 64]


def test_a_file_that_cannot_be_made_anew_stays(converted):
    path = converted / "models/squeezenet1_1/model.onnx"
    before = path.read_bytes()
    write_params(converted, {"export.opset": 26})
    with refused("squeezenet1_1: cannot be exported (exporter torchscript, opset 26)"):
        export_onnx.main(["squeezenet1_1"])
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.glob(".*")] == []


def test_the_metadata_is_enough_to_repeat_the_preprocessing(converted):
    model = onnx.load(converted / "dynamo.onnx")
    said = json.loads({entry.key: entry.value for entry in model.metadata_props}["preprocess"])
    images = Split("imagenet", "val", "classification").images(0, 2)
    by_hand = (images * said["scale"] - np.array(said["mean"])) / np.array(said["std"])
    blob = normalize(images, MEAN, STD)
    np.testing.assert_allclose(by_hand.transpose(0, 3, 1, 2), blob, atol=1e-6)
