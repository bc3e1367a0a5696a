import torch
from torch import nn

from parity.backends.pytorch import load_pytorch
from parity.core.params import PyTorchParams


def test_a_number_of_threads_is_set():
    before = torch.get_num_threads()
    try:
        load_pytorch(nn.Identity(), PyTorchParams(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
