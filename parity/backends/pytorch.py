"""PyTorch as a backend: a network in, a function from blob to logits out."""

import numpy as np
import torch
from torch import nn

from parity.backends.contract import BackendFailure, Forward
from parity.core.cli import InputError, log
from parity.core.machine import cores
from parity.core.params import PARAMS, PyTorchParams

MEMORY_FORMATS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
NO_VIEW = "view size is not compatible with input tensor's size and stride"


def load_pytorch(network: nn.Module, params: PyTorchParams) -> Forward:
    """Return the network's forward pass on the configured device, in the configured memory format;
    set this process's threads.

    A network that takes a `view` of a tensor which channels_last stores in another order computes
    in the contiguous format. A GPU multiplies in float32, without TF32, which keeps 10 of the 23
    bits of the fraction. Raises InputError when the device is missing.
    """
    check_device(params)
    torch.set_num_threads(params.threads or cores())
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(params.device)
    memory_format = MEMORY_FORMATS[params.memory_format]
    network = network.to(device, memory_format=memory_format)

    def forward(blob: np.ndarray) -> np.ndarray:
        nonlocal memory_format
        try:
            return compute(blob)
        except RuntimeError as error:
            if memory_format is torch.contiguous_format or NO_VIEW not in str(error):
                raise
        log("PyTorch: the network's views need contiguous tensors; computing with those")
        memory_format = torch.contiguous_format
        network.to(memory_format=memory_format)
        return compute(blob)

    def compute(blob: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(blob).to(device, memory_format=memory_format)
        with torch.inference_mode():
            return network(images).cpu().contiguous().numpy()

    return forward


def load_pytorch_float64(network: nn.Module, threads: int) -> Forward:
    """Return the network's forward pass in float64, on the CPU; set this process's threads, 0 for
    all cores.

    The function takes a blob, float32 (N, 3, H, W), and returns float64 logits, (N, C) or
    (N, C, H, W). Weights keep their float32 values, so only the rounding of intermediate results
    differs. Raises BackendFailure when the network does not compute in float64.
    """
    torch.set_num_threads(threads or cores())
    network = network.double()

    def forward(blob: np.ndarray) -> np.ndarray:
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # for tensors that the forward pass creates
        try:
            with torch.inference_mode():
                logits = network(torch.from_numpy(blob).double())
        except Exception as error:  # a network of the user's raises anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = f"PyTorch cannot run the network in float64: {reason}"
            raise BackendFailure("error", message) from None
        finally:
            torch.set_default_dtype(default)
        if logits.dtype != torch.float64:
            found = f"its output is {str(logits.dtype).removeprefix('torch.')}"
            raise BackendFailure("error", f"the network does not compute in float64: {found}")
        return logits.numpy()

    return forward


def check_device(params: PyTorchParams) -> None:
    """Raise InputError when PyTorch cannot use the device."""
    if params.device == "cuda" and not torch.cuda.is_available():
        found = "found 'cuda', but PyTorch finds no GPU that it can use; expected cpu"
        raise InputError(f"{PARAMS}: pytorch.device: {found}")
