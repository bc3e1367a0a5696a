import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.onnx_files import add_external_tensor, external_tensor, write_tiny_onnx
from helpers.refusals import refused
from onnx import ModelProto, helper

from parity.networks.external_data import load_external_data, places
from parity.networks.onnx_file import external_data_files, parse, read_onnx_file

OUT = "../" * 30 + "etc/passwd"


def in_initializer(model: ModelProto) -> None:
    model.graph.initializer.append(external_tensor(OUT))


def in_attribute(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["constant"], value=external_tensor(OUT))
    model.graph.node.append(node)


def in_attribute_list(model: ModelProto) -> None:
    node = helper.make_node("Mine", [], ["constant"], domain="mine", values=[external_tensor(OUT)])
    model.graph.node.append(node)


def in_subgraph(model: ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [external_tensor(OUT)])
    branch = helper.make_node("If", ["condition"], ["chosen"], then_branch=inner, else_branch=inner)
    body = helper.make_graph([branch], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["z"], body=body))


def in_list_of_subgraphs(model: ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [external_tensor(OUT)])
    model.graph.node.append(helper.make_node("Mine", [], ["z"], domain="mine", graphs=[inner]))


def in_sparse_values(model: ModelProto) -> None:
    model.graph.sparse_initializer.add(dims=[4]).values.CopyFrom(external_tensor(OUT))


def in_sparse_indices(model: ModelProto) -> None:
    model.graph.sparse_initializer.add(dims=[4]).indices.CopyFrom(external_tensor(OUT))


def in_function(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["constant"], value=external_tensor(OUT))
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("mine", "f", [], ["constant"], [node], opset))


def in_training(model: ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(external_tensor(OUT))


def beside_its_own_data(model: ModelProto) -> None:
    """OpenCV and ONNX could differ in which data such a tensor has."""
    tensor = external_tensor(OUT)
    tensor.raw_data, tensor.data_location = bytes(16), onnx.TensorProto.DEFAULT
    model.graph.initializer.append(tensor)


@pytest.mark.parametrize(
    "put",
    [
        in_initializer,
        in_attribute,
        in_attribute_list,
        in_subgraph,
        in_list_of_subgraphs,
        in_sparse_values,
        in_sparse_indices,
        in_function,
        in_training,
        beside_its_own_data,
    ],
)
def test_a_tensor_anywhere_in_a_file_stays_inside_the_folder(tmp_path, put):
    path = write_tiny_onnx(tmp_path / "a.onnx")
    model = onnx.load(path)
    put(model)
    path.write_bytes(model.SerializeToString())
    with refused(f"{path}: tensor far: external data: found location ../../", tmp_path):
        parse(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of models, with ways out of it."""
    outside, inside = tmp_path / "outside", tmp_path / "models"
    for one in (outside, inside, inside / "sub", tmp_path / "models-other"):
        one.mkdir()
    for file in (outside / "data", inside / "here", inside / "sub/data", "models-other/data"):
        (tmp_path / file).write_bytes(bytes(16))
    (inside / "link").symlink_to(outside / "data")
    (inside / "linked").symlink_to(outside, target_is_directory=True)
    (inside / "to_itself").symlink_to(inside / "to_itself")
    (inside / "device").symlink_to("/dev/zero")
    os.mkfifo(inside / "fifo")
    return inside


@pytest.mark.parametrize(
    "location",
    [
        OUT, "/etc/passwd", "/dev/zero", "../outside/data", "sub/../../outside/data", "..", ".", "",
        "../models-other/data", "sub/../../models/../outside/data", "link", "linked/data",
        "linked/../outside/data", "to_itself", "device", "fifo", "sub", "nothing", "here/x",
        "a\0b", "x" * 300, "sub/" * 2000, "../outside/\n", None,
    ],
)  # fmt: skip
def test_a_location_that_is_no_file_in_the_folder_is_refused(folder, location):
    path = write_tiny_onnx(folder / "a.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(external_tensor(location))
    path.write_bytes(model.SerializeToString())
    with refused(f"{path}: tensor far: external data: found location ", f"a file in {folder}"):
        parse(path)


def test_an_absolute_location_is_refused_even_in_the_folder(folder):
    path = add_external_tensor(write_tiny_onnx(folder / "a.onnx"), str(folder / "here"))
    with refused(f"location {folder}/here"):
        parse(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": 1}, {"offset": 17}, {"offset": -16}, {"offset": "1e1"}, {"offset": ""},
        {"offset": "9" * 18}, {"offset": "9" * 5000}, {"offset": " 0"}, {"offset": "\u0660"},
        {"length": 15}, {"length": 17}, {"length": 0}, {"length": -16}, {"length": "0x10"},
        {"length": "9" * 5000}, {"offset": 8, "length": 8}, {"length": "0" * 30 + "16"},
    ],
)  # fmt: skip
def test_data_that_is_not_in_the_file_is_refused(folder, entries):
    path = add_external_tensor(write_tiny_onnx(folder / "a.onnx"), "here", **entries)
    with refused(f"{path}: tensor far: ", "of here; expected 16 bytes of its 16"):
        parse(path)


@pytest.mark.parametrize("second", ["here", OUT])
def test_a_key_that_comes_twice_is_refused(folder, second):
    path = add_external_tensor(write_tiny_onnx(folder / "a.onnx"), "here")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[-1].external_data.add(key="location", value=second)
    path.write_bytes(model.SerializeToString())
    with refused("keys location, location; expected each once"):
        parse(path)


@pytest.mark.parametrize(
    "dims, kind", [([-4], 1), ([2**62] * 300, 1), ([4], 8), ([4], 99), ([2**40], 1)]
)
def test_a_shape_or_type_without_a_size_in_bytes_is_refused(folder, dims, kind):
    path = write_tiny_onnx(folder / "a.onnx")
    model = onnx.load(path)
    tensor = external_tensor("here")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    tensor.data_type = kind
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    with refused(f"{path}: tensor far: "):
        parse(path)


@pytest.mark.parametrize("location", ["here", "./here", "sub/data", "sub/../here", "sub/./data"])
def test_data_in_the_folder_or_below_is_read(folder, location):
    path = add_external_tensor(write_tiny_onnx(folder / "a.onnx"), location)
    content = np.arange(4, dtype=np.float32)
    (folder / location).write_bytes(content.tobytes())
    model = read_onnx_file(path)
    assert external_data_files(path, model) == [folder / location]
    load_external_data(path, model)
    assert np.array_equal(onnx.numpy_helper.to_array(model.graph.initializer[-1]), content)
    assert not places(path, model)


def test_tensors_share_a_file_by_offset_and_length(tmp_path):
    path = write_tiny_onnx(tmp_path / "a.onnx")
    expected = onnx.load(path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a.bin", size_threshold=0)
    model = read_onnx_file(path)
    load_external_data(path, model)
    assert model == expected


def test_the_folder_may_be_the_current_one_or_a_link(folder, monkeypatch):
    add_external_tensor(write_tiny_onnx(folder / "a.onnx"), "here")
    (folder.parent / "alias").symlink_to(folder, target_is_directory=True)
    assert read_onnx_file(folder.parent / "alias/a.onnx")
    monkeypatch.chdir(folder)
    assert read_onnx_file(Path("a.onnx"))


def test_more_data_than_a_single_file_can_hold_is_refused(folder):
    path = write_tiny_onnx(folder / "a.onnx")
    model = onnx.load(path)
    with (folder / "big").open("wb") as file:
        file.truncate(3 * 2**30)  # sparse
    for _ in range(3):
        tensor = external_tensor("big")
        tensor.dims[0] = 2**28
        model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    with refused(f"{path}: found 3.22 GB with its external data; expected less than 2.15 GB"):
        parse(path)
