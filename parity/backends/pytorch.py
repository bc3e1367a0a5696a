"""PyTorch as a backend: a network in, a function from blob to logits out."""

import numpy as np
import torch
from torch import nn

from parity.backends.contract import Forward
from parity.core.cli import InputError
from parity.core.machine import cores
from parity.core.params import PARAMS, PyTorchParams


def load_pytorch(network: nn.Module, params: PyTorchParams) -> Forward:
    """Return the network's forward pass on its device; sets the threads of PyTorch in this process.

    On a GPU the products are those of float32: TF32 keeps 10 of 23 bits. Raises InputError when
    there is no such device.
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
