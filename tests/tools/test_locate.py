import json
import shutil
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from helpers.checkout import stage_process
from helpers.faulty import (
    BLOB,
    FAULTS,
    change_weight,
    network,
    node_of,
    remove,
    remove_and_take_name,
    set_attribute,
)
from helpers.params import write_params
from helpers.refusals import refused
from onnx import numpy_helper

from parity.faults.in_engine import search
from parity.faults.inputs import feeds_of, read_blob
from parity.faults.search import confirm, first_fault, sample, verdict_of
from parity.faults.subgraphs import Parts
from parity.graphs.difference import Difference, compare, statistics
from parity.graphs.graph import all_values
from stages import infer_onnxruntime, infer_opencv
from tools import locate

ENGINES = pytest.mark.parametrize("engine", ["new", "classic"])
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Outcome:
    code: int
    text: str
    found: dict


@pytest.fixture
def locating(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder, with what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Outcome:
        code = 0
        try:
            locate.main([str(one) for one in args])
        except SystemExit as exit_:
            code = exit_.code
        text = capsys.readouterr().out
        return Outcome(code, text, json.loads(text.splitlines()[-1]))

    return call


def files(folder: Path, candidate: onnx.ModelProto, reference: onnx.ModelProto | None = None):
    """The arguments for two models and the blob, written into a folder."""
    onnx.save(reference or network(), folder / "good.onnx")
    onnx.save(candidate, folder / "bad.onnx")
    np.save(folder / "blob.npy", BLOB)
    return (
        "--reference",
        folder / "good.onnx",
        "--candidate",
        folder / "bad.onnx",
        "--input",
        folder / "blob.npy",
    )


@ENGINES
def test_nothing_differs_in_a_good_file(locating, tmp_path, engine):
    outcome = locating(*files(tmp_path, network()), "--engine", engine)
    assert outcome.code == 0 and outcome.found == {"node": None}
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_put_into_a_file_is_detected_owned_and_located(locating, tmp_path, name):
    put, node = FAULTS[name]
    candidate = network()
    put(candidate)
    outcome = locating(*files(tmp_path, candidate))
    found = outcome.found
    assert (outcome.code, found["node"], found["owner"]) == (1, node, "export"), outcome.text
    assert found["op_type"] == node_of(network(), node).op_type and found["confirmed"]
    assert found["rel"] is None or found["rel"] > 1e-4
    assert (found["kind"] == "refused") == (found["rel"] is None) == ("not fit" in name)
    assert (tmp_path / "plots/locate/bad.png").read_bytes().startswith(PNG)
    assert f"first that differs: {node} (" in outcome.text
    assert ("the outputs agree" in outcome.text) == ("hides" in name)


def test_a_person_reads_what_the_node_is_and_what_it_gave(locating, tmp_path):
    candidate = network()
    FAULTS["average pool that counts its padding"][0](candidate)
    text = locating(*files(tmp_path, candidate)).text
    assert "  inputs      clip_out (1, 8, 16, 16)\n" in text
    assert "count_include_pad=0, kernel_shape=[3, 3]" in text
    assert "note: in the candidate: count_include_pad=1\n" in text
    assert text.count("shape (1, 8, 16, 16), min 0, max ") == 2
    assert "owner       export\n" in text


def test_a_limit_decides_what_differs(locating, tmp_path):
    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    arguments = files(tmp_path, candidate)
    assert locating(*arguments, "--limit", "0.9").code == 0
    assert locating(*arguments, "--limit", "1e-3").found["limit"] == 1e-3


def test_of_two_equal_nodes_the_one_that_is_gone_is_named(locating, tmp_path):
    """A chain of which the candidate has no tensor's name between its ends."""
    reference, candidate = network(), network()
    for model in (reference, candidate):
        clip = node_of(model, "clip")
        second = onnx.NodeProto()
        second.CopyFrom(clip)
        second.name, second.input[0], second.output[0] = "clip_again", "clip_out", "again_out"
        model.graph.node.insert(3, second)
        node_of(model, "pool").input[0] = "again_out"
    change_weight(candidate, "bias", lambda bias: bias + 1)
    remove(candidate, "clip_again")
    outcome = locating(*files(tmp_path, candidate, reference))
    assert outcome.found["node"] == "bn"


def test_a_gemm_that_does_not_fit_is_found_where_the_file_tells_no_shapes(locating, tmp_path):
    reference = network()
    one = numpy_helper.from_array(np.int64([1]), "one")
    reference.graph.initializer.append(one)
    times = onnx.helper.make_node("Mul", ["shape", "one"], ["shape_out"], "shape")
    node_of(reference, "reshape").input[1] = "shape_out"
    reference.graph.node.insert(0, times)
    candidate = onnx.ModelProto.FromString(reference.SerializeToString())
    set_attribute(candidate, "output", transB=0)
    found = locating(*files(tmp_path, candidate, reference)).found
    assert (found["node"], found["owner"], found["rel"]) == ("output", "export", None)
    assert found["confirmed"]


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with other names of all its tensors."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"t.{name}" if name else "" for name in names]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = f"t.{value.name}"
    return model


def test_a_file_with_other_names_of_its_tensors_is_compared_by_its_nodes(locating, tmp_path):
    candidate = network()
    assert locating(*files(tmp_path, renamed(candidate))).found == {"node": None}
    FAULTS["Clip bound"][0](candidate)
    outcome = locating(*files(tmp_path, renamed(candidate)))
    assert outcome.code == 1 and outcome.found["node"] == "clip"


def chain_of_relus() -> onnx.ModelProto:
    """Five convolutions, each with a Relu behind it that is like the others."""
    lines, names, last = [], [], "input"
    for number in range(5):
        conv = f"conv{number}_out = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
        lines.append(f"{conv} ({last}, w{number})")
        last = f"relu{number}_out"
        lines.append(f"{last} = Relu (conv{number}_out)")
        names += [f"conv{number}", f"relu{number}"]
    lines.append(f"output = GlobalAveragePool ({last})")
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> chain (float[N, 3, 16, 16] input) '
        f"=> (float[N, 3, 1, 1] output) {{ {' '.join(lines)} }}"
    )
    for node, name in zip(model.graph.node, [*names, "output"], strict=True):
        node.name = name
    rng = np.random.default_rng(0)
    for number in range(5):
        weight = rng.standard_normal((3, 3, 3, 3)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, f"w{number}"))
    return model


@pytest.mark.parametrize("how", ["an Identity", "removed", "removed, its name taken over"])
@pytest.mark.parametrize("other_names", [True, False])
@pytest.mark.parametrize("number", [0, 2])
def test_of_many_equal_nodes_the_one_that_is_gone_is_named(
    locating, tmp_path, how, other_names, number
):
    candidate, name = chain_of_relus(), f"relu{number}"
    if how == "an Identity":
        node_of(candidate, name).op_type = "Identity"
    else:
        {"removed": remove}.get(how, remove_and_take_name)(candidate, name)
    candidate = renamed(candidate) if other_names else candidate
    found = locating(*files(tmp_path, candidate, chain_of_relus())).found
    assert (found["node"], found["confirmed"]) == (name, True), found


def test_files_with_nothing_in_common_are_owned_but_not_located(locating, tmp_path):
    other = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]>'
        "other (float[N, 3, 16, 16] image) => (float[N, 5] logits) {"
        "flat = Flatten (image) logits = MatMul (flat, w) }"
    )
    weight = np.ones((3 * 16 * 16, 5), np.float32)
    other.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    outcome = locating(*files(tmp_path, other))
    assert outcome.code == 1 and outcome.found["node"] == "unknown"
    assert (outcome.found["owner"], outcome.found["output"]) == ("export", "output")
    assert outcome.found["rel"] > 1e-4 and not outcome.found["confirmed"]
    assert "not located: the files have too few tensors and equal nodes in common" in outcome.text


class Told(Parts):
    """Parts whose differences are told beforehand, of prefixes and of windows."""

    def __init__(self, wrong: set[str], window_wrong: bool) -> None:
        model = network()
        super().__init__(model, all_values(model, {"input": BLOB}), None)
        self.wrong, self.window_wrong = wrong, window_wrong

    def prefix_error(self, name: str) -> Difference:
        return self.seen.setdefault(name, Difference(0.5 * (name in self.wrong)))

    def window_error(self, name: str, places: list[int]) -> Difference:
        return Difference(0.5 * self.window_wrong)


WHOLE = Difference(0.5)


def test_what_is_wrong_only_where_the_graph_ends_is_passed_over():
    fault = search(Told({"conv1_out", "gemm1_out", "relu3_out", "output"}, False), WHOLE, 1e-4)
    assert fault.output == "gemm1_out" and not fault.confirmed and not fault.window
    assert fault.notes == [
        "conv1_out is wrong where the graph ends there, but sum_out behind it is right"
    ]
    assert "not confirmed by a second cut" in fault.how


def test_what_only_the_whole_graph_shows_is_said_to_be_that():
    fault = search(Told({"conv1_out"}, False), WHOLE, 1e-4)
    assert (fault.output, fault.confirmed) == ("output", False)
    assert fault.how.startswith("shows only in the whole graph")


def test_a_fault_that_a_second_cut_shows_is_the_first_though_all_behind_it_is_right():
    fault = search(Told({"conv1_out"}, True), WHOLE, 1e-4)
    assert (fault.output, fault.confirmed, fault.window) == ("conv1_out", True, ["conv1"])
    assert fault.how == "confirmed by a second cut: the node alone shows it"


# Real faults of OpenCV 5.0.0's engines


@ENGINES
def test_an_operation_that_opencv_refuses_is_located(locating, tmp_path, engine):
    model = network()
    node_of(model, "relu2").op_type = "MeanVarianceNormalization"
    outcome = locating(*files(tmp_path, model, model), "--engine", engine)
    found = outcome.found
    assert (outcome.code, found["node"], found["owner"]) == (1, "relu2", "engine")
    assert (found["kind"], found["rel"], found["confirmed"]) == ("refused", None, True)
    assert (tmp_path / "plots/locate/bad.png").exists()


def test_a_fault_of_the_engine_at_the_second_output_is_seen(locating, mobilenet):
    model = onnx.load(mobilenet / "dynamo.onnx")
    given = model.graph.input[0]
    negated = onnx.ValueInfoProto.FromString(given.SerializeToString())
    negated.name = "negated"
    model.graph.node.insert(0, onnx.helper.make_node("Neg", [given.name], ["negated"], "neg"))
    model.graph.output.insert(0, negated)
    onnx.save(model, mobilenet / "two.onnx")
    outcome = locating(*same_file(mobilenet / "two.onnx"), "--engine", "classic")
    assert (outcome.code, outcome.found["owner"]) == (1, "engine"), outcome.text
    assert outcome.found["module"] == "features.1.block.1"


def same_file(path: Path) -> list[object]:
    return ["--reference", path, "--candidate", path, "--input", path.with_name("blob.npy")]


@pytest.fixture
def mobilenet(mobilenet_by_dynamo) -> Path:
    """A folder with mobilenet_v3_small by either exporter and a blob."""
    blob = np.random.default_rng(0).standard_normal((1, 3, 64, 64))
    np.save(mobilenet_by_dynamo / "blob.npy", blob.astype(np.float32))
    return mobilenet_by_dynamo


@ENGINES
def test_mobilenet_by_dynamo_breaks_in_its_first_squeeze_and_excitation(
    locating, mobilenet, engine
):
    outcome = locating(*same_file(mobilenet / "dynamo.onnx"), "--engine", engine)
    found = outcome.found
    module = "features.1.block.1"
    assert (outcome.code, found["owner"], found["module"]) == (1, "engine", module)
    assert (found["op_type"], found["kind"], found["rel"]) == ("Mul", "shape", None)
    assert found["confirmed"] and found["window"][-1] == found["node"]
    assert "evidence      confirmed by a second cut; shows only together with" in outcome.text
    assert "SqueezeExcitation" in outcome.text and not found["unstable"]


@ENGINES
def test_mobilenet_by_torchscript_passes(locating, mobilenet, engine):
    outcome = locating(*same_file(mobilenet / "torchscript.onnx"), "--engine", engine)
    assert outcome.code == 0 and outcome.found == {"node": None}


class Pooling(torch.nn.Module):
    """The branch of deeplabv3 that averages an image and resizes that to its size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.pool = torchvision.models.segmentation.deeplabv3.ASPPPooling(8, 8)

    def forward(self, blob):
        features = torch.relu(self.conv(blob))
        return self.pool(features) + features


def test_memory_that_was_never_written_is_found_in_a_dirty_heap(locating, tmp_path):
    torch.manual_seed(0)
    blob, path = torch.randn(2, 3, 32, 32), tmp_path / "pooling.onnx"
    dynamic = torch.export.Dim.DYNAMIC
    options = {"opset_version": 18, "dynamic_shapes": ({0: dynamic, 2: dynamic, 3: dynamic},)}
    options |= {"external_data": False, "verbose": False, "dynamo": True}
    torch.onnx.export(Pooling().eval(), (blob,), str(path), **options)
    np.save(tmp_path / "blob.npy", blob[:1].numpy())
    outcome = locating(*same_file(path), "--engine", "new")
    found = outcome.found
    assert (outcome.code, found["op_type"], found["owner"]) == (1, "Resize", "engine")
    assert found["unstable"] and found["environment"] and found["confirmed"]
    assert found["module"] == "pool" and len(found["window"]) < 6
    assert "\nunstable: " in outcome.text


# Models of params.yaml


MODEL = "squeezenet1_1"


@pytest.fixture
def locating_model(converted, locating, monkeypatch):
    monkeypatch.chdir(converted)
    return lambda *args: locating(MODEL, *args)


def break_file(path: Path, weight: str) -> None:
    model = onnx.load(path)
    change_weight(model, weight, lambda value: value * 1.2)
    onnx.save(model, path)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_good_model_passes_whoever_exported_it(locating_model, exporter):
    shutil.copy(f"{exporter}.onnx", f"models/{MODEL}/model.onnx")
    outcome = locating_model()
    assert outcome.code == 0 and outcome.found == {"node": None}
    assert "ONNX Runtime against PyTorch: rel " in outcome.text
    assert "on image 0 (" in outcome.text


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_weight_that_is_not_pytorchs_is_located_at_its_module(locating_model, exporter):
    path = Path(f"models/{MODEL}/model.onnx")
    shutil.copy(f"{exporter}.onnx", path)
    break_file(path, "network.features.6.squeeze.weight")
    outcome = locating_model()
    found = outcome.found
    assert (outcome.code, found["owner"]) == (1, "export"), outcome.text
    assert (found["module"], found["op_type"]) == ("features.6.squeeze", "Conv")
    assert found["confirmed"] and "PyTorch" in outcome.text
    assert Path(f"plots/locate/{MODEL}.png").read_bytes().startswith(PNG)


def test_a_file_that_onnxruntime_cannot_run_is_the_exports_fault(locating_model):
    path = Path(f"models/{MODEL}/model.onnx")
    model = onnx.load(path)
    conv = [node for node in model.graph.node if node.op_type == "Conv"][5]
    set_attribute(model, conv.name, group=7)
    onnx.save(model, path)
    outcome = locating_model()
    found = outcome.found
    assert (outcome.code, found["owner"], found["node"]) == (1, "export", conv.name)
    assert found["rel"] is None and found["kind"] in ("refused", "error")


def test_the_blob_is_the_image_that_differs_most_in_the_stored_predictions(locating_model):
    infer_onnxruntime.main([MODEL])
    infer_opencv.main([MODEL])
    path = Path(f"data/predictions/{MODEL}/opencv/logits.npy")
    logits = np.load(path)
    logits[3] += 1
    np.save(path, logits)
    assert "on image 3 (" in locating_model().text
    logits[5] = nan
    np.save(path, logits)
    assert "on image 5 (" in locating_model().text
    assert "on image 7 (" in locating_model("--image", 7).text


def test_a_model_that_is_onnx_from_the_start_has_no_pytorch(converted, locating, monkeypatch):
    monkeypatch.chdir(converted)
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "dynamo.onnx"}
    write_params(converted, {f"models.{MODEL}": entry})
    (converted / f"models/{MODEL}/weights.pth").unlink()
    outcome = locating(MODEL)
    assert outcome.code == 0 and "PyTorch" not in outcome.text


def test_a_fault_of_the_engine_in_a_model_has_the_gates_limit(mobilenet_by_dynamo, locating):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    name = "mobilenet_v3_small"
    changes = {f"models.{name}": entry, f"gate.overrides.{name}": {"rel": 0.01}}
    write_params(mobilenet_by_dynamo, changes)
    outcome = locating(name)
    found = outcome.found
    assert (outcome.code, found["owner"], found["limit"]) == (1, "engine", 0.01)
    assert found["module"] == "features.1.block.1" and found["confirmed"]


# Wrong input


def test_wrong_files_are_refused_in_one_line(locating, tmp_path):
    arguments = dict(zip(*[iter(map(str, files(tmp_path, network())))] * 2, strict=True))

    def with_(**changes: object) -> list[str]:
        changed = arguments | {f"--{key}": str(value) for key, value in changes.items()}
        return [part for pair in changed.items() for part in pair]

    text = tmp_path / "text"
    text.write_text("not a model")
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "nan.npy", np.where(BLOB > 3, nan, BLOB))
    np.save(tmp_path / "huge.npy", BLOB.astype(np.float64) * 1e300)
    np.save(tmp_path / "empty.npy", BLOB[:0])
    np.save(tmp_path / "wide.npy", np.zeros((1, 3, 16, 17), np.float32))
    np.save(tmp_path / "flat.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", BLOB)
    for changes, parts in (
        ({"reference": "no.onnx"}, ["no.onnx: no such file"]),
        ({"candidate": "no.onnx"}, ["no.onnx: no such file"]),
        ({"candidate": text}, [text, "not a valid ONNX file"]),
        ({"input": "no.npy"}, ["no.npy: no such file"]),
        ({"input": text}, [text, "not an .npy file"]),
        ({"input": tmp_path}, [tmp_path, "not an .npy file"]),
        ({"input": tmp_path / "object.npy"}, ["object.npy: not an .npy file"]),
        ({"input": tmp_path / "two.npz"}, ["two.npz: found an .npz file"]),
        ({"input": tmp_path / "words.npy"}, ["words.npy: found <U1; expected float32"]),
        ({"input": tmp_path / "nan.npy"}, ["nan.npy: found NaN or infinity in ", " of 768 "]),
        ({"input": tmp_path / "huge.npy"}, ["huge.npy: found NaN or infinity in 768 of 768 "]),
        ({"input": tmp_path / "empty.npy"}, ["empty.npy: found shape (0, 3, 16, 16)", "empty"]),
        ({"input": tmp_path / "wide.npy"}, ["found shape (1, 3, 16, 17)", "(any, 3, 16, 16)"]),
        ({"input": tmp_path / "flat.npy"}, ["flat.npy: found shape (3,)"]),
        ({"limit": "-1"}, ["--limit: found -1; expected a number above 0"]),
        ({"image": "1"}, ["--image: means nothing with two files"]),
    ):
        with refused(*parts):
            locating(*with_(**changes))
    for wrong in ([], ["resnet50", *with_()], with_()[:4]):
        with refused("expected a MODEL, or all of --reference, --candidate and --input"):
            locating(*wrong)


def test_a_blob_of_another_type_is_cast_and_that_is_said(locating, tmp_path, capsys):
    arguments = files(tmp_path, network())
    np.save(tmp_path / "blob.npy", BLOB.astype(np.float64))
    parsed = feeds_of(tmp_path / "good.onnx", network(), read_blob(tmp_path / "blob.npy"), "")
    assert "blob.npy: found float64; made float32 of it\n" in capsys.readouterr().err
    assert parsed["input"].dtype == np.float32 and (parsed["input"] == BLOB).all()
    assert locating(*arguments).code == 0


def test_an_input_of_another_type_is_refused(locating, tmp_path):
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with refused("bad.onnx: found input input of type int64; expected float (32 bit)"):
        locating(*files(tmp_path, model))


def test_a_difference_within_the_limit_is_told_as_well(locating, tmp_path):
    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    arguments = files(tmp_path, candidate)
    assert "within the limit: first at conv3_out, rel 0." in locating(*arguments, "--limit", 5).text
    assert "within the limit" not in locating(*files(tmp_path, network())).text


def test_a_picture_that_cannot_be_written_takes_nothing_from_the_answer(locating, tmp_path):
    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    (tmp_path / "plots").write_text("no folder")
    outcome = locating(*files(tmp_path, candidate))
    assert outcome.code == 1 and outcome.found["node"] == "conv3"


def test_a_search_that_breaks_off_still_ends_with_the_owner(locating, tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise ValueError("the cut\nis no valid ONNX")

    candidate = network()
    FAULTS["perturbed weight"][0](candidate)
    monkeypatch.setattr(locate, "locate_in_file", broken)
    outcome = locating(*files(tmp_path, candidate))
    assert (outcome.code, outcome.found["node"]) == (1, "unknown")
    assert (outcome.found["owner"], outcome.found["confirmed"]) == ("export", False)
    assert "broke off: ValueError: the cut is no valid ONNX\n" in outcome.text


def test_a_reference_that_onnxruntime_cannot_run_is_wrong_input(locating, tmp_path):
    model = network()
    node_of(model, "relu").op_type = "NoSuchOperation"
    model.opset_import.add(domain="own", version=1)
    node_of(model, "relu").domain = "own"
    with refused(tmp_path / "good.onnx", "NoSuchOperation"):
        locating(*files(tmp_path, network(), model))


def two_outputs(names: tuple[str, str] = ("output", "sum_out")) -> onnx.ModelProto:
    """The network with a tensor from its middle as an output as well."""
    model = network()
    infos = {
        "output": model.graph.output[0],
        "sum_out": onnx.helper.make_tensor_value_info("sum_out", 1, [None, 8]),
    }
    outputs = [onnx.ValueInfoProto.FromString(infos[name].SerializeToString()) for name in names]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def test_a_file_with_fewer_outputs_is_wrong_input(locating, tmp_path):
    with refused("bad.onnx: found 1 outputs: output;", "good.onnx has 2: output, sum_out"):
        locating(*files(tmp_path, network(), two_outputs()))


def test_outputs_of_the_same_names_are_matched_by_these(locating, tmp_path):
    swapped = two_outputs(("sum_out", "output"))
    assert locating(*files(tmp_path, swapped, two_outputs())).code == 0


def test_a_fault_at_the_second_output_is_seen(locating, tmp_path):
    candidate = two_outputs()
    FAULTS["perturbed weight"][0](candidate)
    change_weight(candidate, "gemm2_w", lambda weight: 0 * weight)
    change_weight(reference := two_outputs(), "gemm2_w", lambda weight: 0 * weight)
    outcome = locating(*files(tmp_path, candidate, reference))
    assert outcome.code == 1 and outcome.found["node"] == "conv3"
    assert "the outputs agree" not in outcome.text


def test_a_model_of_several_inputs_is_refused(locating, tmp_path):
    model = network()
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", 1, [1]))
    with refused("bad.onnx: found 2 inputs: input, other; expected one"):
        locating(*files(tmp_path, model))


def test_a_model_or_image_that_is_not_there_is_named(prepared, locating, monkeypatch):
    monkeypatch.chdir(prepared)
    with refused("models.resnet: no such entry"):
        locating("resnet")
    with refused(f"models/{MODEL}/model.onnx: no such file"):
        locating(MODEL)
    Path(f"models/{MODEL}").mkdir(parents=True)
    onnx.save(network(), f"models/{MODEL}/model.onnx")
    with refused("--image: found 10", "images 0 to 9"):
        locating(MODEL, "--image", 10)


def test_the_command_ends_with_its_exit_code(tmp_path):
    arguments = files(tmp_path, network())
    for args, code in ((["--reference", "no.onnx", *arguments[2:]], 2), (arguments, 0)):
        process = stage_process("locate", *map(str, args), cwd=tmp_path)
        out, error = process.communicate()
        assert process.returncode == code, error
        assert code == 2 or out.splitlines()[-1] == '{"node": null}'
        assert code == 0 or error == "error: no.onnx: no such file\n"


# The search, and what a difference is


def chain(wrong: set[int], unknown: set[int] = frozenset(), length: int = 200):
    """A search over a chain of tensors, with those that it asked for."""
    order, asked = [str(number) for number in range(length)], []

    def verdict(name: str) -> bool | None:
        asked.append(name)
        return None if int(name) in unknown else int(name) in wrong

    def before(name: str) -> list[str]:
        return [str(int(name) - 1)] if int(name) else []

    return first_fault(order, order, before, verdict), set(asked)


@pytest.mark.parametrize("first", [0, 1, 37, 120, 199])
def test_where_the_error_is_monotone_a_sample_and_a_bisection_find_it(first):
    found, asked = chain(set(range(first, 200)))
    assert found == str(first) and len(asked) < 50


def test_where_it_is_not_a_scan_finds_the_first():
    found, asked = chain({62, *range(63, 80), *range(150, 200)})
    assert found == "62" and len(asked) < 60


def test_what_cannot_be_told_is_passed_over():
    found, _ = chain(set(range(101, 200)), unknown=set(range(95, 101)))
    assert found == "101"
    assert chain(set(), unknown=set(range(200)))[0] is None


def test_nothing_wrong_is_nothing_found():
    assert chain(set())[0] is None


def test_of_two_branches_the_first_wrong_tensor_is_found():
    """In the order a0 b0 a1 b1 ... the branch b alone is wrong, from b10 on."""
    order = [f"{branch}{number}" for number in range(60) for branch in "ab"] + ["join"]

    def wrong(name: str) -> bool:
        return name == "join" or (name[0] == "b" and int(name[1:]) >= 10)

    def before(name: str) -> list[str]:
        if name == "join":
            return ["a59", "b59"]
        return [f"{name[0]}{int(name[1:]) - 1}"] if int(name[1:]) else []

    assert first_fault(order, ["join"], before, wrong) == "b10"


def test_a_sample_is_spaced_evenly_ends_with_the_output_and_prefers_milestones():
    order = [str(number) for number in range(400)]
    plain = sample(order, [], count=40)
    assert plain[-1] == 399 and len(plain) == 40
    assert np.diff(plain).max() <= 10
    assert 103 in sample(order, ["103"], count=40)
    assert sample(order[:30], [], count=40) == list(range(30))


def test_the_smallest_window_that_shows_a_fault_confirms_it():
    windows = [[9], [8, 9], [7, 8, 9], [6, 7, 8, 9]]
    errors = {1: 0.0, 2: 1e-6, 3: 0.5, 4: 0.5}

    def error_of(places: list[int]) -> Difference:
        return Difference(errors[len(places)])

    assert confirm(windows, error_of, lambda error: error.rel > 1e-4) == [7, 8, 9]
    assert confirm(windows[:2], error_of, lambda error: error.rel > 1e-4) == []


def test_a_part_that_fails_tells_nothing_of_a_whole_that_does_not():
    failed, off, right = Difference(inf, "refused"), Difference(inf, "shape"), Difference(0.0)
    assert verdict_of(failed, Difference(0.5), 1e-4) is None
    assert verdict_of(off, Difference(0.5), 1e-4) is True
    assert verdict_of(right, Difference(0.5), 1e-4) is False
    assert verdict_of(failed, failed, 1e-4) is True
    assert verdict_of(off, failed, 1e-4) is False


def test_a_difference_is_relative_to_the_references_largest_value():
    reference = np.float32([[1, -4]])
    assert compare(np.float32([[1.5, -3]]), reference).rel == 0.25
    assert compare(reference, reference).rel == 0
    assert compare(reference, 0 * reference).rel == inf
    assert compare(0 * reference, 0 * reference).rel == 0
    assert compare(np.zeros((0, 2)), np.zeros((0, 2))).rel == 0


def test_another_shape_is_a_difference_though_it_would_broadcast():
    found = compare(np.ones((1, 4, 1, 1)), np.ones((1, 4, 8, 8)))
    assert (found.kind, found.rel) == ("shape", inf)
    assert found.text() == "shape (1, 4, 1, 1) in place of (1, 4, 8, 8)"
    assert compare(np.ones((4, 1)), np.ones(4)).rel == 0  # the classic engine has no vectors


def test_nan_is_a_difference_unless_the_reference_has_it_too():
    clean, spoilt = np.float32([1, 2, 3]), np.float32([1, nan, inf])
    assert compare(spoilt, clean).kind == compare(clean, spoilt).kind == "nonfinite"
    assert "1 NaN, 1 infinite of 3 values" in compare(spoilt, clean).text()
    assert compare(spoilt, spoilt).rel == 0
    assert compare(-spoilt, spoilt).kind == "nonfinite"


def test_statistics_are_one_line():
    assert statistics(np.float32([[1, nan, 3]])) == "shape (1, 3), min 1, max 3, mean 2, 1 NaN"
    assert statistics(np.full(2, nan)) == "shape (2,), all NaN"
    assert statistics(np.zeros((0, 3))) == "shape (0, 3), empty"
    assert statistics(None) == "none"
