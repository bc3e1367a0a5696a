"""Produce ONNX files that can stand in for a model's own: rewritten, or exported differently."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from parity.backends.onnxruntime import write_optimized
from parity.core.cli import InputError, log
from parity.core.files import new_file
from parity.core.params import PARAMS, ExportParams, ModelParams, Params, Task
from parity.graphs.graph import input_names

Shape = tuple[int, ...]
Settings = dict[str, dict[str, object]]

# How much a user has to change, the smallest first. A file and an engine together are the sum of
# the file's size and WITH_ENGINE.
ENGINE_CHANGE, REWRITE_CHANGE, EXPORTER_CHANGE, WITH_ENGINE = 1, 2, 3, 2


@dataclass
class Candidate:
    """An ONNX file in place of a model's.

    `change_size` orders candidates by how much the user has to change, and `advice` says how.
    `path` is None where `failure` says why the file could not be produced. `shape` is that of the
    input where it accepts no other. `settings` are the model's own settings, by section, that make
    the pipeline use such a file; None where no setting does. `exporter` wrote the file, if another
    than the model's own wrote it.
    """

    label: str
    change_size: int
    path: Path | None
    advice: str
    failure: str = ""
    shape: Shape | None = None
    settings: Settings | None = None
    exporter: str = ""


def settings_text(settings: Settings, keys: str) -> str:
    """Return what to set in params.yaml; `keys` is what the keys there begin with."""
    texts = [
        f"`{keys}{section}.{field}: {value}`"
        for section, fields in settings.items()
        for field, value in fields.items()
    ]
    return f"{' and '.join(texts)} in {PARAMS}"


def optimize_basic(source: Path, target: Path, shape: Shape) -> None:
    """Fold constants and fuse nodes with ONNX Runtime, in standard ONNX operators only."""
    write_optimized(source, target)
    model = onnx.load(str(target))
    used = {node.domain for node in model.graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]  # ONNX Runtime lists every domain that it knows
    model.opset_import.extend(kept)
    onnx.save(model, str(target))


def fold_constants(source: Path, target: Path, shape: Shape) -> None:
    """Fold constants and simplify the graph with onnxscript's optimizer, which PyTorch uses."""
    from onnxscript import optimizer

    onnx.save(optimizer.optimize(onnx.load(str(source))), str(target))


def fix_size(source: Path, target: Path, shape: Shape) -> None:
    """Make the input's shape constant, so that everything computed from it can be folded."""
    model = onnx.load(str(source))
    name = input_names(model)[0]
    value = next(value for value in model.graph.input if value.name == name)
    for axis, length in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        axis.dim_value = length
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(model), str(target))
    optimize_basic(target, target, shape)


REWRITES = {"basic": optimize_basic, "folded": fold_constants, "fixed": fix_size}
REWRITE_LABELS = {
    "basic": "onnxruntime's basic optimisation",
    "folded": "onnxscript's constant folding",
    "fixed": "fixed input size, basic optimisation",
}


def rewrite(how: str, source: Path, shape: Shape, folder: Path, name: str | None) -> Candidate:
    """Rewrite a file in one of the REWRITES, into a folder.

    `name` is the entry of `models` that the file belongs to, if any. `shape` is that of the blobs.
    """
    target = folder / f"{how}.onnx"
    label = REWRITE_LABELS[how]
    advice = f"`{rewrite_command(how, name)}`" if name else label
    only_shape = shape if how == "fixed" else None
    if only_shape:
        advice += f", which only accepts inputs of shape {shape}"
    try:
        REWRITES[how](source, target, shape)
    except Exception as error:  # a rewriting tool raises whatever it met
        reason = " ".join(str(error).split())[:200]
        return Candidate(label, REWRITE_CHANGE, None, advice, f"cannot be written: {reason}")
    return Candidate(label, REWRITE_CHANGE, target, advice, shape=only_shape)


def rewrite_command(how: str, name: str) -> str:
    return f"python -m tools.workaround {name} --write {how} --output {name}-{how}.onnx"


def write_rewritten(how: str, source: Path, shape: Shape, target: Path) -> None:
    """Write a rewritten file; raises InputError with the tool's reason where it cannot."""
    with new_file(target) as partial, TemporaryDirectory() as folder:
        candidate = rewrite(how, source, shape, Path(folder), None)
        if candidate.path is None:
            raise InputError(f"{source}: {candidate.label}: {candidate.failure}")
        shutil.copyfile(candidate.path, partial)
    size = f"{target.stat().st_size / 1e6:.1f} MB"
    only = f", only accepts inputs of shape {candidate.shape}" if candidate.shape else ""
    log(f"{target}: {candidate.label}, {size}{only}")


def other_exports(now: ExportParams, task: Task) -> list[ExportParams]:
    """Return other ways to export: with the other exporter, and with each exporter and sizes that
    cannot change at run time."""
    other = "torchscript" if now.exporter == "dynamo" else "dynamo"
    found = [now.model_copy(update={"exporter": other})]
    if now.dynamic_axes.of(task):
        fixed = now.dynamic_axes.model_copy(update={task: []})
        found += [one.model_copy(update={"dynamic_axes": fixed}) for one in (now, *found)]
    return found


def export_again(
    name: str, model: ModelParams, params: Params, shape: Shape, how: ExportParams, folder: Path
) -> Candidate:
    """Export a model's weights in another way, into a folder; `shape` is that of the blobs."""
    import torch

    from parity.networks.export import export
    from parity.networks.network import saved_network

    axes, changed = how.dynamic_axes.of(model.task), {}
    if how.exporter != params.export.exporter:
        changed["exporter"] = how.exporter
    only_shape = None if axes else (1, *shape[1:])
    if axes != params.export.dynamic_axes.of(model.task):
        changed["dynamic_axes"] = axes
    label = f"exporter {how.exporter}" + (", fixed input size" if only_shape else "")
    settings: Settings = {"export": changed}
    if "batch" not in axes:
        for section in ("inference", "benchmark"):
            if getattr(params, section).batch_size.of(model.task) > 1:
                settings[section] = {"batch_size": 1}
    advice = settings_text(settings, f"models.{name}.")
    if only_shape:
        advice += ", for images of one size"
    change_size = EXPORTER_CHANGE + (len(changed) - 1)
    network = saved_network(name, model)
    zeros = torch.zeros(only_shape or (2 if "batch" in axes else 1, *shape[1:]))
    target = folder / f"{how.exporter}-{len(axes)}.onnx"
    try:
        export(network, zeros, target, how, model.task)
    except InputError as error:
        return Candidate(label, change_size, None, advice, f"cannot be written: {error}")
    # The images of a segmentation differ in size, which a fixed one does not allow.
    is_setting = only_shape is None or model.task == "classification"
    return Candidate(
        label,
        change_size,
        target,
        advice,
        shape=only_shape,
        settings=settings if is_setting else None,
        exporter=how.exporter,
    )
