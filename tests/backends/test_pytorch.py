import numpy as np
import pytest
import torch
from helpers.refusals import refused
from torch import nn

from parity.backends.pytorch import load_pytorch, load_pytorch_float64
from parity.core.params import PyTorchParams


def test_a_number_of_threads_is_set():
    before = torch.get_num_threads()
    try:
        load_pytorch(nn.Identity(), PyTorchParams(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class FixedConstant(nn.Module):
    """Multiplies by a tensor that it creates, of a given type or of the default one."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, blob):
        return blob.mean((2, 3)) @ torch.ones(3, 2, dtype=self.dtype)


class Single(nn.Module):
    def forward(self, blob):
        return blob.mean((2, 3)).float()


BLOB = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_float64_is_free_of_float32s_rounding(one_thread):
    network = nn.Sequential(nn.Conv2d(3, 4, (5, 7)), nn.Flatten()).eval()
    weight, bias = (one.detach().numpy().astype(np.float64) for one in network.parameters())
    expected = np.einsum("nchw,ochw->no", BLOB.astype(np.float64), weight) + bias
    found = load_pytorch_float64(network, 1)(BLOB)
    assert found.dtype == np.float64 and found.shape == (2, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_tensors_that_a_network_creates_are_float64_too_and_the_default_stays(one_thread):
    found = load_pytorch_float64(FixedConstant(), 1)(BLOB)
    assert found.dtype == np.float64
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (FixedConstant(torch.float32), "cannot run the network in float64: RuntimeError: "),
        (Single(), "does not compute in float64: its output is float32"),
    ],
    ids=["refuses", "float32"],
)
def test_a_network_that_cannot_compute_in_float64_says_why(one_thread, network, reason):
    with refused(reason):
        load_pytorch_float64(network, 1)(BLOB)
    assert torch.get_default_dtype() == torch.float32


class Flattening(nn.Module):
    """A network that flattens its features with `view`, as channels_last does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.classifier = nn.Linear(4 * 3 * 5, 2)

    def forward(self, blob):
        features = self.features(blob)
        return self.classifier(features.view(len(blob), -1))


@pytest.mark.parametrize("network", [Flattening(), nn.Conv2d(3, 4, 3)])
def test_the_memory_format_changes_no_answer(one_thread, network):
    formats = ("contiguous", "channels_last")
    found = []
    for memory_format in formats:
        params = PyTorchParams(device="cpu", threads=1, memory_format=memory_format)
        forward = load_pytorch(network.eval(), params)
        found.append(forward(BLOB))
        np.testing.assert_array_equal(forward(BLOB), found[-1])
        assert found[-1].flags.c_contiguous
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_other_errors_of_a_network_come_through(one_thread):
    params = PyTorchParams(device="cpu", threads=1, memory_format="channels_last")
    with pytest.raises(RuntimeError, match="expected input"):
        load_pytorch(nn.Conv2d(4, 4, 3), params)(BLOB)
