"""Find out what makes OpenCV give the model's own answers where it does not: another engine, a
rewritten ONNX file, the other exporter."""

import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from parity.backends.contract import BackendFailure, Forward
from parity.backends.dirty_heap import PERTURB, VALUES, dirty_heap
from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import engines, load_opencv
from parity.core.class_ids import predicted_classes
from parity.core.cli import InputError, log
from parity.core.files import new_file
from parity.core.markdown import agreement_text, difference_text, markdown_table
from parity.core.params import (
    PARAMS,
    BackendParams,
    ExportParams,
    ModelParams,
    OpenCVParams,
    Params,
    Task,
)
from parity.core.paths import onnx_path
from parity.evaluation.scores import Parity, same_bits
from parity.evaluation.verdict import Limits, exceeded, gate_limits, with_ties
from parity.faults.inputs import fits, input_lengths
from parity.graphs.graph import input_names
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

IMAGES = 8  # the first of the val split
# The least change for the user comes first; the sum of a file's and an engine's is a combination's.
ENGINE_COST, REWRITE_COST, EXPORTER_COST, COMBINED_COST = 1, 2, 3, 2
COLUMNS = ("change", "result", "engine", "file", "rel", "agreement %", "ms/image")
LONGEST = 60  # of a failure in the table, in characters
# What OpenCV says around the reason: where in its source, in which functions, the node's own name.
AROUND = (
    r"OpenCV cannot \w+ it: |OpenCV\([^)]*\) \S+:\d+: error: \([^)]*\) | ?in function '\w+'|"
    r"\(onnx_node\w*![^)]*\)| parse error:| >(?= |$)"
)

Shape = tuple[int, ...]


@dataclass
class Case:
    """A model whose answers are known: blobs float32 (N, 3, H, W), and the logits of each."""

    name: str
    forward: Forward
    reference: str  # whose forward pass it is, in words
    limits: Limits
    blobs: list[np.ndarray]
    expected: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.expected = [self.forward(blob) for blob in self.blobs]

    @property
    def images(self) -> int:
        return sum(len(blob) for blob in self.blobs)

    def cut(self, shape: Shape) -> "Case":
        """The case of the blobs cut to one shape: so many images at a time, at their top left."""
        if all(blob.shape == shape for blob in self.blobs):
            return self
        images, *sides = shape
        part = tuple(map(slice, sides))
        starts = [
            (blob, start)
            for blob in self.blobs
            for start in range(0, len(blob) - images + 1, images)
        ]
        blobs = [blob[start : start + images][(slice(None), *part)] for blob, start in starts]
        return replace(self, blobs=[np.ascontiguousarray(blob) for blob in blobs])


@dataclass
class Candidate:
    """An ONNX file that stands for the model; `path` is None where it could not be made, `shape`
    the input's where it takes no other."""

    label: str
    cost: int
    path: Path | None
    advice: str  # what the user does to get it
    failure: str = ""
    shape: Shape | None = None


@dataclass
class Outcome:
    """How OpenCV's answers to a file in one engine were. `failure` says why it is no workaround."""

    change: str
    file: str
    engine: str
    cost: int
    advice: str
    rel: float = field(default=float("nan"))
    agreement: float = field(default=float("nan"))
    ms: float = field(default=float("nan"))
    failure: str = ""

    @property
    def passes(self) -> bool:
        return not self.failure

    def row(self) -> list[str]:
        """The cells of COLUMNS."""
        figures = ["-", "-", "-"]
        if not math.isnan(self.rel):
            figures = [difference_text(self.rel), agreement_text(self.agreement), f"{self.ms:.1f}"]
        result = self.failure or "passes"
        short = result if len(result) <= LONGEST else f"{result[: LONGEST - 3]}..."
        return [self.change, short, self.engine or "-", self.file or "-", *figures]


def try_model(
    name: str, model: ModelParams, params: Params, blobs: list[np.ndarray]
) -> list[Outcome]:
    """Try what there is for an entry of `models`; that which passes comes first, the cheapest of it
    at the top. Where the model as it is passes, nothing else is tried."""
    case, shape = known_answers(name, model, params, blobs), common_shape(blobs)
    with TemporaryDirectory() as folder:
        makers: list[Callable[[], Candidate]] = [
            lambda how=how: rewritten(how, onnx_path(name), shape, Path(folder), name)
            for how in REWRITES
        ]
        if not model.onnx:
            makers += [
                lambda how=how: exported(name, model, params, shape, how, Path(folder))
                for how in exports(params.export, model.task)
            ]
        return try_all(case, onnx_path(name), makers, params.opencv)


def try_file(
    path: Path,
    blob: np.ndarray,
    opencv: OpenCVParams,
    limits: Limits,
    onnxruntime: BackendParams,
) -> list[Outcome]:
    """The same of an ONNX file alone, against ONNX Runtime's answer to one blob."""
    case = Case(path.name, load_onnxruntime(path, onnxruntime), "ONNX Runtime", limits, [blob])
    with TemporaryDirectory() as folder:
        makers = [
            lambda how=how: rewritten(how, path, blob.shape, Path(folder), None) for how in REWRITES
        ]
        return try_all(case, path, makers, opencv)


def try_all(
    case: Case,
    path: Path,
    makers: Iterable[Callable[[], Candidate]],
    opencv: OpenCVParams,
) -> list[Outcome]:
    """Run the file at `path`, and where it fails all others, in each engine."""
    as_it_is = Candidate("as it is", 0, path, "")
    log(f"{case.name}: {case.images} images, against {case.reference}")
    first = attempt(case, as_it_is, opencv, None)
    if first.passes:
        return [first]
    # `auto` is the new engine, or the classic one where that refuses a model.
    known = ("auto", "new") if opencv.engine == "auto" else ("auto", opencv.engine)
    others = [name for name in engines() if name not in known]
    outcomes = [first]
    outcomes += [attempt(case, as_it_is, opencv, engine) for engine in others]
    for make in makers:
        candidate = make()
        if candidate.path is None:
            outcomes.append(
                Outcome(candidate.label, "", "", candidate.cost, "", failure=candidate.failure)
            )
            continue
        its_case = case.cut(candidate.shape) if candidate.shape else case
        outcomes += [attempt(its_case, candidate, opencv, engine) for engine in (None, *others)]
    return sorted(outcomes, key=lambda one: (not one.passes, one.cost, one.ms))


def attempt(case: Case, candidate: Candidate, opencv: OpenCVParams, engine: str | None) -> Outcome:
    """Run a file in an engine, or in the configured one: its answers, and whether they stay the
    same when the heap is dirty."""
    params = opencv if engine is None else opencv.model_copy(update={"engine": engine})
    label, cost, advice = candidate.label, candidate.cost, candidate.advice
    if engine is not None:
        setting = f"`opencv.engine: {engine}` in {PARAMS}"
        label = f"engine {engine}" if cost == 0 else f"{label}, engine {engine}"
        advice = f"{advice}, and {setting}" if advice else setting
        cost = cost + COMBINED_COST if cost else ENGINE_COST
    outcome = Outcome(
        label, f"{candidate.path.stat().st_size / 1e6:.1f} MB", params.engine, cost, advice
    )
    log(f"{case.name}: {label}")
    try:
        answers, again, outcome.ms = answers_of(candidate.path, params, case.blobs)
        judge(outcome, case, answers)
        if not same_bits(again, answers[0]):
            outcome.failure = "unstable: a second pass answered otherwise"
        elif outcome.passes:
            outcome.failure = instability(candidate.path, params, case.blobs, answers)
    except BackendFailure as failure:
        outcome.failure = f"{failure.kind}: {short_reason(failure, candidate.path)}"
    return outcome


def short_reason(failure: BackendFailure, path: Path) -> str:
    """A failure's message without the file, and without what OpenCV says around the reason."""
    return re.sub(AROUND, "", failure.message.replace(f"{path}: ", "")).strip()


def answers_of(
    path: Path, params: OpenCVParams, blobs: list[np.ndarray], heap: dict[str, str] | None = None
) -> tuple[list[np.ndarray], np.ndarray, float]:
    """OpenCV's logits of each blob, in a process of its own, those of the first blob when it was
    run again, and the milliseconds an image that this took. Raises BackendFailure."""
    load = IsolatedForward(
        load_opencv, path, params, limit_s=params.time_limit, environment=heap, quiet=True
    )
    with load as forward:
        answers = [forward(blob) for blob in blobs]
        again = forward(blobs[0])
        ms = 1e3 * forward.seconds / len(blobs[0])
    return answers, again, ms


def judge(outcome: Outcome, case: Case, answers: list[np.ndarray]) -> None:
    """Hold answers against those expected and the limits; fills in what was found."""
    parity = Parity()
    for answer, expected in zip(answers, case.expected, strict=True):
        if expected.ndim < 2 and answer.size == expected.size:  # OpenCV may add an axis
            answer, expected = answer.reshape(1, -1), expected.reshape(1, -1)
        if answer.shape != expected.shape:
            outcome.failure = f"shape: {answer.shape} in place of {expected.shape}"
            return
        parity.update_logits(answer, expected)
        classes = predicted_classes(answer), predicted_classes(expected)
        parity.update_classes(*classes)
        parity.update_ties(*classes, expected)
    scores = parity.scores()
    outcome.rel, outcome.agreement = scores["rel"], with_ties(scores, case.limits)
    if not all(np.isfinite(answer).all() for answer in answers):
        outcome.failure = "NaN or infinity in the output"
    else:
        outcome.failure = exceeded(scores, case.limits) or ""


def instability(
    path: Path, params: OpenCVParams, blobs: list[np.ndarray], answers: list[np.ndarray]
) -> str:
    """Run the file on heaps that were dirtied on purpose: what differs in words, or nothing."""
    for value in VALUES:
        if sys.platform == "linux":
            heap, setting = dirty_heap(value), f"{PERTURB}={value}"
        else:
            heap, setting = {}, "a fresh process"
        dirty, _, _ = answers_of(path, params, blobs, heap)
        if not all(map(same_bits, dirty, answers)):
            return f"unstable: answers otherwise with {setting}"
    return ""


def common_shape(blobs: list[np.ndarray]) -> Shape:
    """The largest shape that all blobs can be cut to."""
    return tuple(min(lengths) for lengths in zip(*(blob.shape for blob in blobs), strict=True))


def basic_optimised(source: Path, target: Path, shape: Shape) -> None:
    """Constants folded and nodes merged by ONNX Runtime, in standard ONNX operators alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(target))
    used = {node.domain for node in model.graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]  # it names every domain that it knows
    model.opset_import.extend(kept)
    onnx.save(model, str(target))


def folded(source: Path, target: Path, shape: Shape) -> None:
    """Constants folded and the graph simplified by onnxscript's optimizer, PyTorch's own."""
    from onnxscript import optimizer

    onnx.save(optimizer.optimize(onnx.load(str(source))), str(target))


def fixed_size(source: Path, target: Path, shape: Shape) -> None:
    """The input's shape made a constant, so that what is computed of it can be folded."""
    model = onnx.load(str(source))
    known = {tensor.name for tensor in model.graph.initializer}
    given = next(value for value in model.graph.input if value.name not in known)
    for side, length in zip(given.type.tensor_type.shape.dim, shape, strict=True):
        side.dim_value = length
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(model), str(target))
    basic_optimised(target, target, shape)


REWRITES = {"basic": basic_optimised, "folded": folded, "fixed": fixed_size}
REWRITE_LABELS = {
    "basic": "onnxruntime's basic optimisation",
    "folded": "onnxscript's constant folding",
    "fixed": "fixed input size, basic optimisation",
}


def rewritten(how: str, source: Path, shape: Shape, folder: Path, name: str | None) -> Candidate:
    """The file rewritten in one of the REWRITES; of an entry of `models`, or of a file alone.
    `shape` is that of its input where it takes one alone."""
    target = folder / f"{how}.onnx"
    label = REWRITE_LABELS[how]
    advice = f"`{command_of(how, name)}`" if name else label
    only = shape if how == "fixed" else None
    if only:
        advice += f", whose input is then {shape} and no other"
    try:
        REWRITES[how](source, target, shape)
    except Exception as error:  # a tool that rewrites raises whatever it met
        reason = " ".join(str(error).split())[:200]
        return Candidate(label, REWRITE_COST, None, advice, f"cannot be made: {reason}")
    return Candidate(label, REWRITE_COST, target, advice, shape=only)


def command_of(how: str, name: str) -> str:
    return f"python -m tools.workaround {name} --write {how} --output {name}-{how}.onnx"


def write_rewritten(how: str, source: Path, shape: Shape, target: Path) -> None:
    """Write the file, rewritten; raises InputError with the tool's reason where it cannot be."""
    with new_file(target) as partial, TemporaryDirectory() as folder:
        candidate = rewritten(how, source, shape, Path(folder), None)
        if candidate.path is None:
            raise InputError(f"{source}: {candidate.label}: {candidate.failure}")
        shutil.copyfile(candidate.path, partial)
    size = f"{target.stat().st_size / 1e6:.1f} MB"
    only = f", its input is {candidate.shape} and no other" if candidate.shape else ""
    log(f"{target}: {candidate.label}, {size}{only}")


def exports(now: ExportParams, task: Task) -> list[ExportParams]:
    """How else the weights could be exported: by the other exporter, and by each with sizes that
    cannot change at run time."""
    other = "torchscript" if now.exporter == "dynamo" else "dynamo"
    found = [now.model_copy(update={"exporter": other})]
    if now.dynamic_axes.of(task):
        fixed = now.dynamic_axes.model_copy(update={task: []})
        found += [one.model_copy(update={"dynamic_axes": fixed}) for one in (now, *found)]
    return found


def exported(
    name: str, model: ModelParams, params: Params, shape: Shape, how: ExportParams, folder: Path
) -> Candidate:
    """What is written of the same weights in another way."""
    import torch

    from parity.networks.export import export
    from parity.networks.network import saved_network

    axes, changed = how.dynamic_axes.of(model.task), []
    if how.exporter != params.export.exporter:
        changed.append(f"exporter: {how.exporter}")
    only = None if axes else (1, *shape[1:])
    if axes != params.export.dynamic_axes.of(model.task):
        changed.append(f"dynamic_axes.{model.task}: []")
    label = ", ".join([f"exporter {how.exporter}"] + ["fixed input size"] * (only is not None))
    advice = " and ".join(f"`export.{one}`" for one in changed) + f" in {PARAMS}"
    if only:
        advice += ", for images of one size"
    cost = EXPORTER_COST + (len(changed) - 1)
    network = saved_network(name, model)
    zeros = torch.zeros(only or (2 if "batch" in axes else 1, *shape[1:]))
    target = folder / f"{how.exporter}-{len(axes)}.onnx"
    try:
        export(network, zeros, target, how, model.task)
    except InputError as error:
        return Candidate(label, cost, None, advice, f"cannot be made: {error}")
    return Candidate(label, cost, target, advice, shape=only)


def first_blobs(name: str, model: ModelParams, params: Params) -> list[np.ndarray]:
    """The first val images as the stages feed them, batch by batch; of those the ones that the
    model's file takes, where it takes one size alone."""
    split = Split(model.preprocess, "val", model.task)
    graph = onnx.load(str(onnx_path(name)), load_external_data=False)
    wanted = input_lengths(graph, input_names(graph)[0])
    size = min(params.inference.batch_size.of(model.task), IMAGES)
    if wanted and wanted[0]:
        size = wanted[0]
    ranges = [(start, min(stop, IMAGES)) for start, stop in split.batches(size) if start < IMAGES]
    normalization = read_normalization(model.preprocess)
    blobs = (normalize(split.images(start, stop), **normalization) for start, stop in ranges)
    return [blob for blob in blobs if fits(blob.shape, wanted)]


def known_answers(name: str, model: ModelParams, params: Params, blobs: list[np.ndarray]) -> Case:
    """The logits of PyTorch, or ONNX Runtime for a model that is an ONNX file from the start."""
    if model.onnx:
        forward, reference = load_onnxruntime(onnx_path(name), params.onnxruntime), "ONNX Runtime"
    else:
        from parity.backends.pytorch import load_pytorch
        from parity.networks.network import saved_network

        network = saved_network(name, model)
        forward, reference = load_pytorch(network, params.pytorch), "PyTorch"
    return Case(name, forward, reference, gate_limits(params, name), blobs)


def table(outcomes: list[Outcome]) -> str:
    """The outcomes in Markdown."""
    rows = [[cell.replace("|", "/") for cell in one.row()] for one in outcomes]
    return markdown_table([list(COLUMNS), *rows], left=4).rstrip()


def conclusion(name: str, outcomes: list[Outcome]) -> Iterator[str]:
    """What to do, in words."""
    passing = [one for one in outcomes if one.passes]
    yield ""
    if not passing:
        yield f"{name}: none of these is a workaround"
    elif passing[0].cost == 0:
        yield f"{name}: passes as it is, no workaround is needed"
    else:
        best = passing[0]
        yield f"{name}: the cheapest workaround: {best.change}, {best.ms:.1f} ms an image"
        yield f"  {best.advice}"
