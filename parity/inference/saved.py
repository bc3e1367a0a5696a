"""Load a model's saved network as a backend, in this process or in one of another machine."""

import os

from parity.backends.contract import Forward
from parity.backends.pytorch import load_pytorch, load_pytorch_float64
from parity.core.heap import keep_freed_memory
from parity.core.params import ModelParams, PyTorchParams
from parity.networks.network import saved_network

# oneDNN, which computes PyTorch's convolutions, caches prepared code for each shape of blob. With
# its default of 1024 entries fcn_resnet50 takes 0.9 GB on images of different sizes; with 256,
# 0.25 GB.
ONEDNN_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"}


def load_saved(name: str, model: ModelParams, params: PyTorchParams) -> Forward:
    """Return the forward pass of the network that the stage `weights` wrote; set this process's
    threads and oneDNN's cache, and have its heap keep what it frees."""
    keep_freed_memory()
    os.environ.update(ONEDNN_CACHE | os.environ)
    return load_pytorch(saved_network(name, model), params)


def load_saved_float64(name: str, model: ModelParams, threads: int) -> Forward:
    """Return that network's forward pass in float64."""
    keep_freed_memory()
    return load_pytorch_float64(saved_network(name, model), threads)
