import numpy as np
import pytest
import torch
from helpers.backends import ON_CPU
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
