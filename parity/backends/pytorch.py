"""PyTorch as a backend: a network in, a function from blob to logits out."""

import numpy as np
import torch
from torch import nn

from parity.backends.contract import Forward
from parity.core.cli import InputError
from parity.core.machine import cores
from parity.core.params import PARAMS, PyTorchParams


def load_pytorch(network: nn.Module, params: PyTorchParams) -> Forward:
    """Return the network's forward pass on the configured device; set this process's threads.

    A GPU multiplies in float32, without TF32, which keeps 10 of the 23 bits of the fraction. Raises
    InputError when the device is missing.
    """
    check_device(params)
    torch.set_num_threads(params.threads or cores())
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(params.device)
    network = network.to(device)

    def forward(blob: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(blob).to(device)).cpu().numpy()

    return forward


def check_device(params: PyTorchParams) -> None:
    """Raise InputError when PyTorch cannot use the device."""
    if params.device == "cuda" and not torch.cuda.is_available():
        found = "found 'cuda', but PyTorch finds no GPU that it can use; expected cpu"
        raise InputError(f"{PARAMS}: pytorch.device: {found}")
