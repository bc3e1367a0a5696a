"""PyTorch's part of `make coverage`: weights, reference answers and ONNX files of one model.

It runs in a process of its own, which may crash, hang or run out of memory.
"""

import io
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch

from parity.backends.pytorch import load_pytorch
from parity.core.cli import InputError
from parity.core.files import new_file
from parity.core.params import DynamicAxes, ExportParams, Params, PyTorchParams, Task
from parity.coverage.synthetic_images import patterns, spread, touched
from parity.coverage.zoo import parameters, zoo_entry, zoo_network
from parity.networks.export import AXES, check_opset, export
from parity.networks.network import Logits, load_network

DYNAMIC = DynamicAxes(classification=["batch"], segmentation=[*AXES])
FIXED = DynamicAxes(classification=[], segmentation=[])
Shape = tuple[int, int, int, int]


class ZooModel(NamedTuple):
    """One of torchvision's models, and the folder that its large files are in meanwhile."""

    name: str
    task: Task
    folder: Path


def make_reference(model: ZooModel, params: Params) -> dict:
    """Write the weights, and PyTorch's answers for each size: `<height>x<width>.npy`, float32.

    Returns what is noted of them: the least `spread` of any size, the `parameters` in millions, the
    median time of one image of the first size in ms, and as `noise` how much the answers to its
    first image change, relatively, when the blob changes by a millionth. Raises InputError where
    PyTorch itself cannot run the model at a size.
    """
    torch.set_num_threads(1)
    sizes = [parse_size(size) for size in params.coverage.sizes.of(model.task)]
    scale = params.probe.residual_scale
    try:
        network = zoo_network(*model[:2], params.coverage.classes, sizes[0], params.seed, scale)
    except Exception as error:  # of torchvision's code, for a size that it does not take
        raise InputError(_reason(error)) from None
    # Opened here: PyTorch says of a file of its own that fails neither why nor that it is the disk.
    with new_file(model.folder / "weights.pth") as partial, partial.open("wb") as file:
        torch.save(network.state_dict(), file)
    forward = load_pytorch(Logits(network).eval(), PyTorchParams(device="cpu", threads=1))
    least, times = float("inf"), []
    for height, width in sizes:
        blob = patterns(params.coverage.images, height, width, params.seed)
        answers = []
        for image in blob:
            began = time.perf_counter()
            try:
                answers.append(forward(image[None]))
            except Exception as error:  # as above
                raise InputError(_reason(error)) from None
            if (height, width) == sizes[0]:
                times.append(1e3 * (time.perf_counter() - began))
        outputs = np.concatenate(answers)
        content = io.BytesIO()  # as numpy does not say either why a file fails
        np.save(content, outputs)
        (model.folder / f"{height}x{width}.npy").write_bytes(content.getbuffer())
        least = min(least, spread(outputs))
    first = patterns(1, *sizes[0], params.seed)
    right = forward(first)
    noise = float(np.abs(forward(touched(first)) - right).max() / np.abs(right).max())
    note = {"parameters": parameters(model.name), "spread": least, "noise": noise}
    return note | {"ms": statistics.median(times)}


def export_model(
    model: ZooModel, params: Params, how: ExportParams, shape: Shape, dynamic: bool, path: Path
) -> None:
    """Write the model as ONNX: traced with a blob of `shape`, with dynamic axes or none, whatever
    `how` says of those.

    Raises InputError with the exporter's reason.
    """
    torch.set_num_threads(1)
    classes = params.coverage.classes
    weights = model.folder / "weights.pth"
    network = load_network(weights, model.name, zoo_entry(model.task), classes)
    how = how.model_copy(update={"dynamic_axes": DYNAMIC if dynamic else FIXED})
    export(network, torch.zeros(shape), path, how, model.task)
    check_opset(onnx.load(str(path)), how)


def parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width)


def _reason(error: Exception) -> str:
    return f"PyTorch cannot run it: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
