import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.params import model_entry, write_params
from helpers.refusals import refused
from torch import nn

from parity.core.params import load_params
from parity.core.paths import transform_folder
from parity.networks import export as onnx_export
from parity.networks.export import usage_metadata
from parity.networks.network import Logits, build
from parity.preprocessing.profile import write_transform

pytestmark = pytest.mark.process

EXPORTERS = ["dynamo", "torchscript"]


class Function(nn.Module):
    """A network that applies a function to the blob."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, blob: torch.Tensor) -> torch.Tensor:
        return self.function(blob)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 5)).eval()


def export(network: nn.Module, path: Path, task: str, side: int = 32, **changes) -> onnx.ModelProto:
    write_params(path.parent, {f"export.{key}": value for key, value in changes.items()})
    params = load_params(path.parent / "params.yaml").export
    onnx_export.export(network, torch.zeros(2, 3, side, side), path, params, task)
    model = onnx.load(path)
    onnx_export.check_opset(model, params)
    onnx.checker.check_model(model, full_check=True)
    return model


def assert_same(path: Path, network: nn.Module, *shapes: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in shapes:
        blob = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        (logits,) = session.run(None, {"input": blob})
        with torch.inference_mode():
            expected = network(torch.from_numpy(blob)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def axes(value: onnx.ValueInfoProto) -> list[bool]:
    """For each axis, whether it is dynamic."""
    return [not axis.HasField("dim_value") for axis in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_classifier_takes_any_number_of_images(tmp_path, exporter):
    network, path = small_network(), tmp_path / "model.onnx"
    model = export(network, path, "classification", exporter=exporter)
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["output"]
    assert axes(model.graph.input[0]) == [True, False, False, False]
    assert_same(path, network, (1, 3, 32, 32), (3, 3, 32, 32))


@pytest.fixture(scope="module", params=EXPORTERS)
def segmentation(request, tmp_path_factory) -> tuple[Path, nn.Module, onnx.ModelProto]:
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    torch.manual_seed(0)
    network = Logits(build("lraspp_mobilenet_v3_large", model_entry("segmentation"), 5)).eval()
    model = export(network, path, "segmentation", side=64, exporter=request.param)
    return path, network, model


def test_a_segmentation_takes_any_number_of_images_of_any_size(segmentation):
    path, network, model = segmentation
    assert axes(model.graph.input[0]) == [True, False, True, True]
    batch, _, height, width = axes(model.graph.output[0])
    assert batch and height and width
    assert_same(path, network, (1, 3, 64, 64), (3, 3, 64, 64), (1, 3, 70, 91), (2, 3, 49, 120))


def test_the_metadata_says_when_images_are_turned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = transform_folder("any")
    folder.mkdir(parents=True)
    for how, expected in (("ignore", {}), ("apply", {"exif": "apply"})):
        write_transform(folder, "own", {"mean": [0.5] * 3, "std": [0.5] * 3}, how)
        metadata = usage_metadata("x", model_entry("segmentation"), [], "random")
        written = json.loads(metadata["preprocess"])
        assert {key: written[key] for key in ("exif",) if key in written} == expected


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_axes_that_are_not_dynamic_are_fixed(tmp_path, exporter):
    path = tmp_path / "model.onnx"
    changes = {"exporter": exporter, "dynamic_axes.segmentation": ["batch"]}
    network = nn.Sequential(nn.Conv2d(3, 5, 1)).eval()
    model = export(network, path, "segmentation", **changes)
    assert axes(model.graph.input[0]) == [True, False, False, False]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("opset", [18, 20])
def test_the_opset_is_the_requested_one(tmp_path, exporter, opset):
    path = tmp_path / "model.onnx"
    model = export(small_network(), path, "classification", exporter=exporter, opset=opset)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == opset


def test_an_opset_that_the_exporter_does_not_write_is_refused(tmp_path):
    with refused("params.yaml: export.opset: found 11; the exporter dynamo wrote 18 instead"):
        export(
            small_network(), tmp_path / "model.onnx", "classification", exporter="dynamo", opset=11
        )
    model = export(small_network(), tmp_path / "model.onnx", "classification", opset=11)
    assert model.opset_import[0].version == 11


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_network_that_cannot_be_exported_is_refused_with_the_reason(tmp_path, exporter):
    network = Function(lambda blob: torch.linalg.qr(blob[:, 0])[0])
    with refused(f"cannot be exported (exporter {exporter}, opset 18)", "linalg_qr"):
        export(network, tmp_path / "model.onnx", "classification", exporter=exporter)


def test_a_branch_that_depends_on_the_data_is_refused_by_dynamo(tmp_path):
    network = Function(lambda blob: blob.mean((2, 3)) if blob.sum() > 0 else blob.amax((2, 3)))
    with refused("cannot be exported (exporter dynamo, opset 18)", "data-dependent"):
        export(network, tmp_path / "model.onnx", "classification", exporter="dynamo")
