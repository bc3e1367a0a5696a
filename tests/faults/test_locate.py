import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from helpers.faulty import (
    BLOB,
    FAULTS,
    change_weight,
    network,
    node_of,
    parse,
    perturb_one,
    rename_tensors,
    set_attribute,
)
from helpers.params import write_params
from helpers.refusals import refused
from helpers.small_faults import bfloat16

from parity.backends.contract import BackendFailure
from parity.core.params import load_params
from parity.faults import locate
from parity.faults.fault import Fault
from parity.faults.locate import Located, locate_between_files, locate_in_model
from parity.graphs import tolerance
from parity.graphs.provenance import node_name

ENGINES = pytest.mark.parametrize("engine", ["new", "classic"])
MODEL = "squeezenet1_1"


@dataclass
class Search:
    """What was located, and the lines that were said meanwhile."""

    located: Located
    text: str

    @property
    def fault(self) -> Fault | None:
        return self.located.fault

    @property
    def node(self) -> str:
        return node_name(self.fault.node)


def search_files(
    folder: Path,
    candidate: onnx.ModelProto,
    reference: onnx.ModelProto | None = None,
    engine: str | None = None,
    limit: float | None = None,
) -> Search:
    """Write two models and the blob into a folder, and search the candidate."""
    onnx.save(reference or network(), folder / "good.onnx")
    onnx.save(candidate, folder / "bad.onnx")
    np.save(folder / "blob.npy", BLOB)
    paths = (folder / name for name in ("good.onnx", "bad.onnx", "blob.npy"))
    lines: list[str] = []
    return Search(locate_between_files(*paths, lines.append, engine, limit), "\n".join(lines))


def search_file(path: Path, engine: str) -> Search:
    """Search a single file, against itself, on the blob beside it."""
    lines: list[str] = []
    blob = path.with_name("blob.npy")
    return Search(locate_between_files(path, path, blob, lines.append, engine), "\n".join(lines))


def search_model(name: str = MODEL) -> Search:
    """Search a model of params.yaml."""
    path, lines = Path(f"models/{name}/model.onnx"), []
    return Search(locate_in_model(name, load_params(), path, lines.append), "\n".join(lines))


@pytest.mark.process
@ENGINES
def test_a_good_file_has_no_fault(tmp_path, engine):
    found = search_files(tmp_path, network(), engine=engine)
    assert found.fault is None and found.located.module is None


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_put_into_a_file_is_detected_owned_and_located(tmp_path, name):
    put, node = FAULTS[name]
    candidate = network()
    put(candidate)
    found = search_files(tmp_path, candidate)
    fault = found.fault
    assert (found.node, fault.owner) == (node, "export")
    assert fault.node.op_type == node_of(network(), node).op_type and fault.confirmed
    assert fault.difference.rel > 1e-4
    assert fault.difference.failed == ("not fit" in name)
    assert any("the outputs agree" in note for note in fault.notes) == ("hides" in name)


def test_a_changed_constant_is_told_by_its_element(tmp_path):
    candidate = network()
    change_weight(candidate, "conv2_w", lambda weight: perturb_one(weight, 40))
    notes = search_files(tmp_path, candidate).fault.notes
    (weight,) = (one for one in network().graph.initializer if one.name == "conv2_w")
    before = onnx.numpy_helper.to_array(weight).flat[40]
    text = "constant conv2_w differs: 1 of 576 values, most at [0, 4, 1, 1]"
    assert notes[0] == f"{text}: {before + 0.5:.7g} in place of {before:.7g}"


def test_a_second_fault_is_noted(tmp_path):
    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    FAULTS["transposed Gemm"][0](candidate)
    found = search_files(tmp_path, candidate)
    assert found.node == "conv3"
    assert any(
        note.startswith("another fault follows: gemm1 (Gemm), ") for note in found.fault.notes
    )


def test_an_add_that_reads_another_tensor_is_told(tmp_path):
    candidate = network()
    node_of(candidate, "add").input[1] = "bn_out"
    found = search_files(tmp_path, candidate)
    text = "its inputs changed: the candidate's add (Add) reads bn_out, not pool_out"
    assert found.node == "add" and text in found.fault.notes


@pytest.mark.process
def test_the_limit_decides_what_differs(tmp_path):
    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    assert search_files(tmp_path, candidate, limit=0.9).fault is None
    assert search_files(tmp_path, candidate, limit=1e-3).fault.limit == 1e-3


@pytest.mark.process
def test_a_difference_within_the_limit_is_said(tmp_path):
    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    found = search_files(tmp_path, candidate, limit=5)
    assert "within the limit: first at conv3_out, rel 0." in found.text
    assert "within the limit" not in search_files(tmp_path, network()).text


@pytest.mark.process
def test_a_file_with_other_tensor_names_is_no_fault(tmp_path):
    assert search_files(tmp_path, rename_tensors(network())).fault is None


def test_files_with_nothing_in_common_are_owned_but_not_located(tmp_path):
    weight = np.ones((3 * 16 * 16, 5), np.float32)
    body = "flat = Flatten (image) logits = MatMul (flat, w)"
    other = parse(body, "float[N, 3, 16, 16] image", "float[N, 5] logits", w=weight)
    fault = search_files(tmp_path, other).fault
    assert (fault.node, fault.owner, fault.output) == (None, "export", "output")
    assert fault.difference.rel > 1e-4 and not fault.confirmed
    reason = "not located: the files have too few tensors and equal nodes in common"
    assert fault.evidence == reason


def test_a_search_that_breaks_off_still_names_the_owner(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise ValueError("the cut\nis not valid ONNX")

    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    monkeypatch.setattr(locate, "locate_in_file", broken)
    fault = search_files(tmp_path, candidate).fault
    assert (fault.owner, fault.node, fault.confirmed) == ("export", None, False)
    assert fault.evidence.endswith("broke off: ValueError: the cut is not valid ONNX")


def test_a_reference_that_onnxruntime_cannot_run_is_wrong_input(tmp_path):
    model = network()
    node_of(model, "relu").op_type = "NoSuchOperation"
    model.opset_import.add(domain="own", version=1)
    node_of(model, "relu").domain = "own"
    with refused(tmp_path / "good.onnx", "NoSuchOperation"):
        search_files(tmp_path, network(), model)


def two_outputs(names: tuple[str, str] = ("output", "sum_out")) -> onnx.ModelProto:
    """The network with a tensor from its middle as a second output."""
    model = network()
    infos = {
        "output": model.graph.output[0],
        "sum_out": onnx.helper.make_tensor_value_info("sum_out", 1, [None, 8]),
    }
    outputs = [onnx.ValueInfoProto.FromString(infos[name].SerializeToString()) for name in names]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def test_a_file_with_fewer_outputs_is_wrong_input(tmp_path):
    with refused("bad.onnx: found 1 outputs: output;", "good.onnx has 2: output, sum_out"):
        search_files(tmp_path, network(), two_outputs())


@pytest.mark.process
def test_outputs_of_the_same_names_are_matched_by_name(tmp_path):
    swapped = two_outputs(("sum_out", "output"))
    assert search_files(tmp_path, swapped, two_outputs()).fault is None


def test_a_fault_at_the_second_output_is_found(tmp_path):
    candidate = two_outputs()
    FAULTS["perturbed weight"][0](candidate)
    change_weight(candidate, "gemm2_w", lambda weight: 0 * weight)
    change_weight(reference := two_outputs(), "gemm2_w", lambda weight: 0 * weight)
    found = search_files(tmp_path, candidate, reference)
    assert found.node == "conv3"
    assert not any("the outputs agree" in note for note in found.fault.notes)


# Real faults of OpenCV 5.0.0's engines


@pytest.mark.process
@ENGINES
def test_an_operation_that_opencv_refuses_is_located(tmp_path, engine):
    model = network()
    node_of(model, "relu2").op_type = "MeanVarianceNormalization"
    found = search_files(tmp_path, model, model, engine)
    assert (found.node, found.fault.owner, found.fault.confirmed) == ("relu2", "engine", True)
    assert found.fault.difference.kind == "refused"


@pytest.fixture
def mobilenet(mobilenet_by_dynamo) -> Path:
    """A folder with mobilenet_v3_small by either exporter and a blob."""
    blob = np.random.default_rng(0).standard_normal((1, 3, 64, 64))
    np.save(mobilenet_by_dynamo / "blob.npy", blob.astype(np.float32))
    return mobilenet_by_dynamo


@pytest.mark.process
@ENGINES
def test_mobilenet_by_dynamo_breaks_in_its_first_squeeze_and_excitation(mobilenet, engine):
    found = search_file(mobilenet / "dynamo.onnx", engine)
    fault = found.fault
    assert (fault.owner, found.located.module) == ("engine", "features.1.block.1")
    assert (fault.node.op_type, fault.difference.kind) == ("Mul", "shape")
    assert fault.confirmed and fault.window[-1] == found.node and not fault.unstable
    assert fault.evidence.startswith("confirmed by a second cut; shows only together with")


@pytest.mark.process
@ENGINES
def test_mobilenet_by_torchscript_passes(mobilenet, engine):
    assert search_file(mobilenet / "torchscript.onnx", engine).fault is None


@pytest.mark.process
def test_a_fault_of_the_engine_at_the_second_output_is_found(mobilenet):
    model = onnx.load(mobilenet / "dynamo.onnx")
    (value,) = model.graph.input
    negated = onnx.ValueInfoProto.FromString(value.SerializeToString())
    negated.name = "negated"
    model.graph.node.insert(0, onnx.helper.make_node("Neg", [value.name], ["negated"], "neg"))
    model.graph.output.insert(0, negated)
    onnx.save(model, mobilenet / "two.onnx")
    found = search_file(mobilenet / "two.onnx", "classic")
    assert (found.fault.owner, found.located.module) == ("engine", "features.1.block.1")


class Pooling(torch.nn.Module):
    """The branch of deeplabv3 that averages an image and resizes the mean to its size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.pool = torchvision.models.segmentation.deeplabv3.ASPPPooling(8, 8)

    def forward(self, blob):
        features = torch.relu(self.conv(blob))
        return self.pool(features) + features


@pytest.mark.process
def test_a_read_of_uninitialized_memory_is_located_on_a_dirty_heap(tmp_path):
    torch.manual_seed(0)
    blob, path = torch.randn(2, 3, 32, 32), tmp_path / "pooling.onnx"
    dynamic = torch.export.Dim.DYNAMIC
    options = {"opset_version": 18, "dynamic_shapes": ({0: dynamic, 2: dynamic, 3: dynamic},)}
    options |= {"external_data": False, "verbose": False, "dynamo": True}
    torch.onnx.export(Pooling().eval(), (blob,), str(path), **options)
    np.save(tmp_path / "blob.npy", blob[:1].numpy())
    found = search_file(path, "new")
    fault = found.fault
    assert (fault.node.op_type, fault.owner, found.located.module) == ("Resize", "engine", "pool")
    assert fault.unstable and fault.environment and fault.confirmed and len(fault.window) < 6
    assert "\nunstable: " in found.text


# Models of params.yaml


def break_file(path: Path, weight: str) -> None:
    model = onnx.load(path)
    change_weight(model, weight, lambda value: value * 1.2)
    onnx.save(model, path)


@pytest.mark.process
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_good_model_has_no_fault_whichever_exporter_wrote_it(converted, exporter):
    shutil.copy(f"{exporter}.onnx", f"models/{MODEL}/model.onnx")
    found = search_model()
    assert found.fault is None
    assert "ONNX Runtime against PyTorch: rel " in found.text
    assert "on image 0 (" in found.text


@pytest.mark.process
def test_the_heaps_of_params_yaml_are_used(converted):
    write_params(converted, {"stability.perturb": [7]})
    assert "(the same in 2 processes)" in search_model().text


@pytest.mark.process
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_weight_that_differs_from_pytorchs_is_located_at_its_module(converted, exporter):
    path = Path(f"models/{MODEL}/model.onnx")
    shutil.copy(f"{exporter}.onnx", path)
    break_file(path, "network.features.6.squeeze.weight")
    found = search_model()
    assert (found.fault.owner, found.located.module) == ("export", "features.6.squeeze")
    assert found.fault.node.op_type == "Conv" and found.fault.confirmed
    assert found.fault.sides == ("ONNX Runtime", "PyTorch")


@pytest.mark.process
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_weight_that_is_rounded_is_located_though_the_logits_hardly_change(converted, exporter):
    path = Path(f"models/{MODEL}/model.onnx")
    model = onnx.load(f"{exporter}.onnx")
    change_weight(model, "network.features.6.squeeze.weight", bfloat16)
    onnx.save(model, path)
    found = search_model()
    assert (found.fault.owner, found.located.module) == ("export", "features.6.squeeze")
    assert found.fault.difference.rel < 1e-2 and found.fault.exactness > 20
    assert found.fault.node.op_type == "Conv" and found.fault.confirmed


def test_a_file_that_onnxruntime_cannot_run_is_the_exports_fault(converted):
    path = Path(f"models/{MODEL}/model.onnx")
    model = onnx.load(path)
    conv = [node for node in model.graph.node if node.op_type == "Conv"][5]
    set_attribute(model, conv.name, group=7)
    onnx.save(model, path)
    found = search_model()
    assert (found.node, found.fault.owner) == (conv.name, "export")
    assert found.fault.difference.kind in ("refused", "error")


@pytest.mark.process
def test_a_model_that_is_onnx_from_the_start_is_not_compared_with_pytorch(converted):
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "dynamo.onnx"}
    write_params(converted, {f"models.{MODEL}": entry})
    (converted / f"models/{MODEL}/weights.pth").unlink()
    found = search_model()
    assert found.fault is None and "PyTorch" not in found.text


@pytest.mark.process
def test_a_fault_of_the_engine_in_a_model_is_located_by_its_noise(mobilenet_by_dynamo):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    name = "mobilenet_v3_small"
    write_params(mobilenet_by_dynamo, {f"models.{name}": entry})
    found = search_model(name)
    assert found.fault.owner == "engine" and found.fault.limit < 1e-5
    assert found.located.module == "features.1.block.1" and found.fault.confirmed


@pytest.mark.process
def test_without_float64_a_model_has_the_gates_limit(converted, monkeypatch):
    def cannot(*_: object) -> None:
        raise BackendFailure("refused", "no rule for Conv")

    monkeypatch.setattr(tolerance, "run_float64", cannot)
    write_params(converted, {f"gate.overrides.{MODEL}": {"rel": 0.01}})
    path = Path(f"models/{MODEL}/model.onnx")
    break_file(path, "network.features.6.squeeze.weight")
    found = search_model()
    assert "limit 0.01, as rounding is not measured: no rule for Conv" in found.text
    assert (found.fault.limit, found.fault.exactness) == (0.01, None)
