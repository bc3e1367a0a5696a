"""Write a PyTorch network as ONNX, with what one must know to use the file in its metadata."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
import torchvision

from parity.core.cli import InputError
from parity.core.params import PARAMS, ExportParams, ModelParams, Params, Task
from parity.preprocessing.profile import read_normalization, read_size

INPUT, OUTPUT = "input", "output"

AXES = {"batch": 0, "height": 2, "width": 3}

# Where the source of PyTorch lies on this machine: nobody else's business, and it would make two
# exports of the same model differ.
STACK_TRACE = "pkg.torch.onnx.stack_trace"


def export(
    network: torch.nn.Module, blob: torch.Tensor, path: Path, params: ExportParams, task: Task
) -> None:
    """Write the network as ONNX; `blob`, float32 (N, 3, H, W), is what it is traced with.

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
    except Exception as error:  # an exporter raises whatever it met
        while error.__cause__:  # the exporter's own message is advice, the reason lies below
            error = error.__cause__
        reason = " ".join(str(error).split())[:300]
        where = f"exporter {params.exporter}, opset {params.opset}"
        raise InputError(f"{path.parent.name}: cannot be exported ({where}): {reason}") from None


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Keep the exporter's advice to its own developers off the terminal."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def metadata(name: str, model: ModelParams, params: Params, classes: list[str]) -> dict[str, str]:
    """What an ONNX file says of itself: texts, lists and mappings as JSON."""
    return usage(name, model, classes, str(model.weights)) | {
        "exporter": params.export.exporter,
        "opset": str(params.export.opset),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def own_metadata(
    name: str, model: ModelParams, classes: list[str], given: onnx.ModelProto
) -> dict[str, str]:
    """The same of a model that is ONNX from the start; what its file says already is kept."""
    opset = max(entry.version for entry in given.opset_import if entry.domain in ("", "ai.onnx"))
    known = {entry.key: entry.value for entry in given.metadata_props}
    producer = f"{given.producer_name} {given.producer_version}".strip()
    return (
        {"exporter": producer, "opset": str(opset)}
        | known
        | usage(name, model, classes, Path(model.onnx).name)
    )


def usage(name: str, model: ModelParams, classes: list[str], weights: str) -> dict[str, str]:
    """What one must know to use a model, whoever made it."""
    size = read_size(model.preprocess, model.task)
    profile = {"task": model.task, "size": size if isinstance(size, str) else size.model_dump()}
    profile |= read_normalization(model.preprocess)
    return {
        "model": name,
        "task": model.task,
        "weights": weights,
        "preprocess": json.dumps({"color": "RGB", "scale": 1 / 255} | profile),
        "classes": json.dumps(classes, ensure_ascii=False),
    }


def check_opset(model: onnx.ModelProto, params: ExportParams) -> None:
    """Raise InputError when the exporter wrote another opset than it was asked for."""
    written = {entry.domain: entry.version for entry in model.opset_import}[""]
    if written != params.opset:
        found = f"found {params.opset}; the exporter {params.exporter} wrote {written} instead"
        raise InputError(f"{PARAMS}: export.opset: {found}")


def describe(model: onnx.ModelProto, properties: dict[str, str]) -> None:
    """Add metadata to a model, and take out what belongs to this machine alone."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.helper.set_model_props(model, properties)
