"""PyTorch's part of `make coverage`: weights, reference logits and ONNX files of one model.

Runs in a process of its own, since a model may crash, hang or run out of memory.
"""

import io
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch

from parity.backends.pytorch import load_pytorch, load_pytorch_float64
from parity.core.cli import InputError
from parity.core.files import new_file
from parity.core.params import (
    TORCHVISION,
    DynamicAxes,
    ExportParams,
    Params,
    PyTorchParams,
    Task,
)
from parity.coverage.cells import own_settings
from parity.coverage.synthetic_images import patterns, perturbed, spread
from parity.coverage.zoo import (
    build_zoo_network,
    count_millions,
    million_parameters,
    zoo_network,
)
from parity.evaluation.exactness import ExactSums
from parity.evaluation.scores import relative_difference
from parity.networks.checkpoints import load_state, read_checkpoint
from parity.networks.export import AXES, check_opset, export
from parity.networks.network import Logits

DYNAMIC = DynamicAxes(classification=["batch"], segmentation=[*AXES])
FIXED = DynamicAxes(classification=[], segmentation=[])
Shape = tuple[int, int, int, int]


class ZooModel(NamedTuple):
    """A model of a zoo, and the folder that holds its large files for now."""

    name: str
    task: Task
    folder: Path
    zoo: str = TORCHVISION

    @property
    def weights_path(self) -> Path:
        return self.folder / "weights.pth"

    def sizes(self, params: Params) -> list[str]:
        """The sizes of its blobs, its own or those of its task; the first is exported."""
        own = own_settings(params, self.zoo, self.name) or {}
        return [own["size"]] if "size" in own else params.coverage.sizes.of(self.task)

    def reference_path(self, size: str) -> Path:
        """PyTorch's logits of all images of a size, float32 (N, C) or (N, C, H, W)."""
        return self.folder / f"{size}.npy"

    def exact_path(self, size: str) -> Path:
        """The same network's logits in float64, of the same shape."""
        return self.folder / f"{size}-exact.npy"


def make_reference(model: ZooModel, params: Params) -> dict:
    """Write the weights, and PyTorch's logits for each size.

    Returns `parameters` in millions; `spread`, the smallest of all sizes; `noise`, the relative
    difference of the logits of the first image when its blob changes by a millionth; and `ms`, the
    median time of one image of the first size. Raises InputError where PyTorch cannot run the model
    at a size.
    """
    torch.set_num_threads(1)
    sizes = model.sizes(params)
    first_size = parse_size(sizes[0])
    try:
        network = zoo_network(model.name, model.task, first_size, params, model.zoo)
    except InputError:  # the factory's failure
        raise
    except Exception as error:  # the network's, for a size that it does not take
        raise InputError(_message(error)) from None
    # Opened here, because torch.save names neither the file nor a full disk when it fails.
    with new_file(model.weights_path) as partial, partial.open("wb") as file:
        torch.save(network.state_dict(), file)
    forward = load_pytorch(Logits(network).eval(), PyTorchParams(device="cpu", threads=1))
    least_spread, times = float("inf"), []
    for size in sizes:
        logits = []
        for image in patterns(params.coverage.images, *parse_size(size), params.seed):
            began = time.perf_counter()
            try:
                logits.append(forward(image[None]))
            except Exception as error:  # the network's, as above
                raise InputError(_message(error)) from None
            if size == sizes[0]:
                times.append(1e3 * (time.perf_counter() - began))
        reference = np.concatenate(logits)
        write_array(model.reference_path(size), reference)
        least_spread = min(least_spread, spread(reference))
    first = patterns(1, *first_size, params.seed)
    published = model.zoo == TORCHVISION
    return {
        "parameters": million_parameters(model.name) if published else count_millions(network),
        "spread": least_spread,
        "noise": relative_difference(forward(perturbed(first)), forward(first)),
        "ms": statistics.median(times),
    }


def make_exact(model: ZooModel, params: Params) -> dict:
    """Write the logits in float64 of the images and weights of `make_reference`, for each size.

    Returns the distance of PyTorch's float32 logits from them, over all sizes: `rel` and `rms`, see
    ExactSums; and `seconds`, the time it took. Raises BackendFailure where the network does not
    compute in float64.
    """
    began = time.perf_counter()
    forward = load_pytorch_float64(load_zoo_network(model, params), threads=1)
    sums = ExactSums()
    for size in model.sizes(params):
        images = patterns(params.coverage.images, *parse_size(size), params.seed)
        exact = np.concatenate([forward(image[None]) for image in images])
        sums.update(np.load(model.reference_path(size)), exact)
        write_array(model.exact_path(size), exact)
    return asdict(sums.distance()) | {"seconds": time.perf_counter() - began}


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy; a full disk is an OSError, which np.save does not always raise."""
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getbuffer())


def export_model(
    model: ZooModel, params: Params, how: ExportParams, shape: Shape, dynamic: bool, path: Path
) -> None:
    """Write the model as ONNX, traced with a blob of `shape`. `dynamic` decides between dynamic
    axes and none, whatever `how` says.

    Raises InputError with the exporter's message.
    """
    torch.set_num_threads(1)
    network = load_zoo_network(model, params)
    how = how.model_copy(update={"dynamic_axes": DYNAMIC if dynamic else FIXED})
    export(network, torch.zeros(shape), path, how, model.task)
    check_opset(onnx.load(str(path)), how)


def load_zoo_network(model: ZooModel, params: Params) -> Logits:
    """Build the network and load the weights of `make_reference`; return it ready for inference."""
    network = build_zoo_network(model.name, model.task, params, model.zoo)
    path = model.weights_path
    load_state(network, read_checkpoint(path), source=str(path))
    return Logits(network).eval()


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `<height>x<width>`."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def _message(error: Exception) -> str:
    return f"PyTorch cannot run it: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
