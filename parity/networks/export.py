"""Export a PyTorch network to ONNX, and write what a user of the file needs into its metadata."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch

from parity.core.cli import InputError
from parity.core.params import PARAMS, ExportParams, ModelParams, Params, Task
from parity.networks.light_torchvision import torchvision
from parity.preprocessing.profile import how_turned, read_exif, read_normalization, read_size

INPUT, OUTPUT = "input", "output"

AXES = {"batch": 0, "height": 2, "width": 3}

# Paths of this machine: private, and they would make two exports of the same model differ.
STACK_TRACE = "pkg.torch.onnx.stack_trace"


def export(
    network: torch.nn.Module, blob: torch.Tensor, path: Path, params: ExportParams, task: Task
) -> None:
    """Write the network as ONNX, traced with `blob`, float32 (N, 3, H, W).

    Raises InputError with the exporter's reason when it cannot convert the network.
    """
    axes = {AXES[axis]: axis for axis in params.dynamic_axes.of(task)}
    options: dict = {"opset_version": params.opset, "input_names": [INPUT]}
    options |= {"output_names": [OUTPUT], "dynamo": params.exporter == "dynamo"}
    if params.exporter == "dynamo":
        dynamic = torch.export.Dim.DYNAMIC
        options |= {"dynamic_shapes": ({axis: dynamic for axis in axes},), "verbose": False}
        options |= {"external_data": False}
    else:
        options |= {"dynamic_axes": {INPUT: axes, OUTPUT: axes}}
    try:
        with warnings.catch_warnings(), quiet_logs():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (blob,), str(path), **options)
    except Exception as error:  # exporters raise anything
        while error.__cause__:  # the exporter's message is advice; its cause is the reason
            error = error.__cause__
        reason = " ".join(str(error).split())[:300]
        where = f"exporter {params.exporter}, opset {params.opset}"
        raise InputError(f"cannot be exported ({where}): {reason}") from None


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Silence the exporter's messages to its developers."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def export_metadata(
    name: str, model: ModelParams, params: Params, classes: list[str]
) -> dict[str, str]:
    """Return the metadata of an exported model; lists and mappings are JSON."""
    return usage_metadata(name, model, classes, str(model.weights)) | {
        "exporter": params.export.exporter,
        "opset": str(params.export.opset),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def extended_metadata(
    name: str, model: ModelParams, classes: list[str], onnx_model: onnx.ModelProto
) -> dict[str, str]:
    """Return the metadata of a user's ONNX file, extended by what this project knows about it."""
    opsets = onnx_model.opset_import
    opset = max(entry.version for entry in opsets if entry.domain in ("", "ai.onnx"))
    present = {entry.key: entry.value for entry in onnx_model.metadata_props}
    producer = f"{onnx_model.producer_name} {onnx_model.producer_version}".strip()
    usage = usage_metadata(name, model, classes, Path(model.onnx).name)
    return {"exporter": producer, "opset": str(opset)} | present | usage


def usage_metadata(
    name: str, model: ModelParams, classes: list[str], weights: str
) -> dict[str, str]:
    """Return what a user of a model needs to know, whoever exported it."""
    size = read_size(model.preprocess, model.task)
    profile = {"task": model.task, "size": size if isinstance(size, str) else size.model_dump()}
    profile |= read_normalization(model.preprocess) | how_turned(read_exif(model.preprocess))
    return {
        "model": name,
        "task": model.task,
        "weights": weights,
        "preprocess": json.dumps({"color": "RGB", "scale": 1 / 255} | profile),
        "classes": json.dumps(classes, ensure_ascii=False),
    }


def check_opset(model: onnx.ModelProto, params: ExportParams, key: str = "export.opset") -> None:
    """Raise InputError when the exporter wrote another opset than `params` asks for; `key` is where
    params.yaml does."""
    written = {entry.domain: entry.version for entry in model.opset_import}[""]
    if written != params.opset:
        found = f"found {params.opset}; the exporter {params.exporter} wrote {written} instead"
        raise InputError(f"{PARAMS}: {key}: {found}")


def write_metadata(model: onnx.ModelProto, properties: dict[str, str]) -> None:
    """Write metadata into a model, and remove the paths of this machine."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.helper.set_model_props(model, properties)
