import json
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from helpers.backends import ON_CPU
from helpers.folders import replace_by
from helpers.params import model_entry
from helpers.refusals import Code, refused
from torch import nn

from parity.backends.pytorch import load_pytorch
from parity.networks.checkpoints import load_state, read_checkpoint
from parity.networks.network import build, load_network


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(build("squeezenet1_1", model_entry(), 10).state_dict(), path)
    return path


def test_saved_weights_are_the_ones_that_run(checkpoint):
    network = load_network(checkpoint, "squeezenet1_1", model_entry(), 10)
    assert not network.training
    expected = torch.load(checkpoint, weights_only=True)
    for name, value in network.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    blob = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    logits = load_pytorch(network, ON_CPU)(blob)
    assert logits.shape == (2, 10) and logits.dtype == np.float32


def test_a_checkpoint_with_another_head_is_refused_with_both_shapes(checkpoint):
    with refused(
        f"{checkpoint}: classifier.1.weight: found shape (10, 512, 1, 1); "
        "the model needs (7, 512, 1, 1)"
    ):
        load_network(checkpoint, "squeezenet1_1", model_entry(), 7)


def test_a_checkpoint_of_another_model_is_refused_by_its_first_entry(checkpoint):
    with refused(f"{checkpoint}: has no entry conv1.weight, which the model needs"):
        load_network(checkpoint, "resnet18", model_entry(), 10)


def test_an_extra_entry_is_refused_unless_it_is_an_auxiliary_heads():
    network = nn.Sequential(nn.Linear(2, 2))
    state = network.state_dict() | {"aux_classifier.0.weight": torch.zeros(1)}
    load_state(network, state, "x.pth")
    with refused("x.pth: entry more belongs to no layer of the model"):
        load_state(network, state | {"more": torch.zeros(1)}, "x.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_not_a_checkpoint_is_refused_by_name(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with refused(f"{path}: not a PyTorch checkpoint, or cut off"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused_by_name(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:100_000])
    with refused(f"{checkpoint}: not a PyTorch checkpoint"):
        read_checkpoint(checkpoint)


def test_a_missing_checkpoint_is_refused_by_name(tmp_path):
    with refused(f"{tmp_path / 'weights.pth'}: no such file"):
        read_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, torch.zeros(2)])
def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with refused(f"{tmp_path / 'weights.pth'}: expected a state dict"):
        read_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, zipped):
    path, marker = tmp_path / "weights.pth", tmp_path / "it ran"
    torch.save({"a": Code(marker)}, path, _use_new_zipfile_serialization=zipped)
    with refused(f"{path}: holds a Python object ("):
        read_checkpoint(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert marker.exists()


def test_module_versions_survive_a_checkpoint(tmp_path):
    # MNASNet refuses to load without the version of its layers.
    torch.save(build("mnasnet0_5", model_entry(), 5).state_dict(), tmp_path / "weights.pth")
    network = load_network(tmp_path / "weights.pth", "mnasnet0_5", model_entry(), 5)
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_a_checkpoint_may_lack_what_inference_does_not_need(tmp_path):
    state = build("resnet18", model_entry(), 5).state_dict()
    old = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save(old, tmp_path / "weights.pth")
    load_network(tmp_path / "weights.pth", "resnet18", model_entry(), 5)


# Entries that are no plain tensors


def linear_state(weight: object) -> dict:
    return nn.Linear(4, 3).state_dict() | {"weight": weight}


WEIGHT = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (WEIGHT.to("meta"), "found a meta tensor"),
        (WEIGHT.to_sparse(), "found a sparse tensor"),
        (WEIGHT.to_sparse_csr(), "found a sparse tensor"),
        (WEIGHT.to_sparse_csc(), "found a sparse tensor"),
        (WEIGHT.to(torch.complex64), "found complex numbers"),
        (torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8), "found a quantized tensor"),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "found a nested tensor"),
        (nn.UninitializedParameter(), "found a lazy parameter"),
        (WEIGHT.to(torch.int8), "found torch.int8; the model needs torch.float32"),
        (WEIGHT.to(torch.bool), "found torch.bool; the model needs torch.float32"),
        (torch.tensor(1.0), "found shape (); the model needs (3, 4)"),
        (torch.zeros(1).expand(10**6, 10**6), "found shape (1000000, 1000000)"),
    ],
)
def test_an_entry_that_the_network_cannot_take_is_refused(weight, expected):
    with refused("x.pth: weight: ", expected):
        load_state(nn.Linear(4, 3), linear_state(weight), "x.pth")


@pytest.mark.parametrize(
    "number", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn]
)
def test_floats_of_another_precision_are_converted(number):
    network = nn.Linear(4, 3)
    load_state(network, linear_state(WEIGHT.to(number)), "x.pth")
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, WEIGHT.to(number).float())


def test_integers_of_a_layer_may_be_stored_as_floats():
    network = nn.BatchNorm2d(4)
    load_state(network, {name: value.half() for name, value in network.state_dict().items()}, "x")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["sparse", "quantized"])
def test_a_refusal_is_one_line_without_warnings(tmp_path, kind):
    weight = WEIGHT.to_sparse()
    if kind == "quantized":
        weight = torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8)
    torch.save(linear_state(weight), tmp_path / "x.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = read_checkpoint(tmp_path / "x.pth")
        with refused("x.pth: weight: found a "):
            load_state(nn.Linear(4, 3), state, "x.pth")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (linear_state("x"), "found the entry 'weight': str"),
        (linear_state(None), "found the entry 'weight': NoneType"),
        (linear_state([1.0]), "found the entry 'weight': list"),
        (linear_state(WEIGHT) | {1: WEIGHT}, "found the entry 1: Tensor"),
        ({"model": linear_state(WEIGHT), "epoch": {}}, "`checkpoint_key: model`"),
        ({"model": {"net": linear_state(WEIGHT)}}, "found the entries model"),
        (None, "found NoneType"),
        (nn.Linear(4, 3), "holds a Python object (torch.nn.modules.linear.Linear)"),
        (linear_state(WEIGHT.numpy()), "holds a Python object (numpy."),
    ],
)
def test_what_is_no_state_dict_is_refused_by_what_it_holds(tmp_path, content, expected):
    torch.save(content, tmp_path / "x.pth")
    with refused(f"{tmp_path / 'x.pth'}: ", expected):
        read_checkpoint(tmp_path / "x.pth")


# Files that are no checkpoints


def write_other(path, kind: str) -> None:
    torch.save(linear_state(WEIGHT), path)
    match kind:
        case "FIFO" | "folder" | "device":
            replace_by(path, kind)
        case "TorchScript":
            torch.jit.save(torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4)), str(path))
        case "safetensors":
            header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
            path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
        case "bomb":
            with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("x/data/9", bytes(10_000_000))
        case _:
            path.write_bytes(path.read_bytes()[: int(path.stat().st_size * float(kind))])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("FIFO", "found a FIFO; expected a regular file"),
        ("folder", "found a folder; expected a regular file"),
        ("device", "found a device; expected a regular file"),
        ("TorchScript", "found a TorchScript archive; expected a state dict"),
        ("safetensors", "found a safetensors file; expected a state dict"),
        ("bomb", "that unpacks to 1000"),
        ("0", "not a PyTorch checkpoint, or cut off: EOFError"),
        ("0.3", "not a PyTorch checkpoint, or cut off: "),
        ("0.99", "not a PyTorch checkpoint, or cut off: "),
    ],
)
def test_another_file_is_refused_by_what_it_is(tmp_path, kind, expected):
    path = tmp_path / "x.pth"
    write_other(path, kind)
    with refused(f"{path}: ", expected):
        read_checkpoint(path)
