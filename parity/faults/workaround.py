"""Try what makes OpenCV reproduce a model's own outputs: another engine, or another ONNX file."""

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from parity.backends.contract import BackendFailure, Forward
from parity.backends.dirty_heap import PERTURB, dirty_heap
from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import engines, load_opencv
from parity.core.class_ids import predicted_classes
from parity.core.cli import log
from parity.core.markdown import agreement_text, difference_text, markdown_table
from parity.core.params import BackendParams, ModelParams, OpenCVParams, Params
from parity.core.paths import onnx_path
from parity.evaluation.scores import Parity, same_bits
from parity.evaluation.verdict import Limits, exceeded, gate_limits, with_ties
from parity.faults import candidates
from parity.faults.candidates import (
    ENGINE_CHANGE,
    WITH_ENGINE,
    Candidate,
    Settings,
    Shape,
    settings_text,
)
from parity.faults.inputs import fits, input_lengths
from parity.faults.settings import FILE_PERTURB
from parity.networks.onnx_file import network_input, parse
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

IMAGES = 8  # the first of the val split
COLUMNS = ("change", "result", "engine", "file", "rel", "agreement %", "ms/image")
PASSES = "passes"
NOT_LASTING = "not lasting"
LONGEST = 60  # characters of a failure in the table
# What OpenCV puts around the reason: the place in its source, the function, the node's own name.
AROUND_REASON = (
    r"OpenCV cannot \w+ it: |OpenCV\([^)]*\) \S+:\d+: error: \([^)]*\) | ?in function '\w+'|"
    r"\(onnx_node\w*![^)]*\)| parse error:| >(?= |$)"
)


@dataclass
class ModelWithReference:
    """A model whose logits are known for some blobs, float32 (N, 3, H, W).

    `forward` computes them, in the backend that `reference` names. `perturb` are the values of
    MALLOC_PERTURB_ under which OpenCV's outputs must stay the same. `keys` is what the model's own
    keys of params.yaml begin with, and `exporter` wrote its file, where these are known.
    """

    name: str
    forward: Forward
    reference: str
    limits: Limits
    perturb: Sequence[int]
    blobs: list[np.ndarray]
    keys: str = ""
    exporter: str = ""
    expected: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.expected = [self.forward(blob) for blob in self.blobs]

    @property
    def images(self) -> int:
        return sum(len(blob) for blob in self.blobs)

    def cropped(self, shape: Shape) -> "ModelWithReference":
        """Return the model with its blobs split into batches of the shape's length and cropped to
        its sides, at the top left."""
        if all(blob.shape == shape for blob in self.blobs):
            return self
        images, *sides = shape
        window = (slice(None), *map(slice, sides))
        batches = [
            blob[start : start + images][window]
            for blob in self.blobs
            for start in range(0, len(blob) - images + 1, images)
        ]
        return replace(self, blobs=list(map(np.ascontiguousarray, batches)))


@dataclass
class Outcome:
    """How OpenCV reproduced a model with a file in an engine; `failure` says why it did not.

    `settings` are the model's own settings that make this change, None where settings cannot.
    `short_lived` says why it will not last, if so.
    """

    change: str
    file: str
    engine: str
    change_size: int
    advice: str
    rel: float = field(default=float("nan"))
    agreement: float = field(default=float("nan"))
    ms: float = field(default=float("nan"))
    failure: str = ""
    settings: Settings | None = None
    short_lived: str = ""

    @property
    def passes(self) -> bool:
        return not self.failure

    def row(self) -> list[str]:
        """Return the cells of COLUMNS."""
        figures = ["-", "-", "-"]
        if not math.isnan(self.rel):
            figures = [difference_text(self.rel), agreement_text(self.agreement), f"{self.ms:.1f}"]
        result = self.failure or (f"{PASSES}, {NOT_LASTING}" if self.short_lived else PASSES)
        short = result if len(result) <= LONGEST else f"{result[: LONGEST - 3]}..."
        return [self.change, short, self.engine or "-", self.file or "-", *figures]


def try_model(
    name: str, model: ModelParams, params: Params, blobs: list[np.ndarray]
) -> list[Outcome]:
    """Try all changes to an entry of `models`: those that pass first, then by size of the change.

    If the model passes unchanged, nothing else is tried.
    """
    known = known_model(name, model, params, blobs)
    path, shape = onnx_path(name), common_shape(blobs)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        producers = rewrites(path, shape, folder, name)
        if not model.onnx:
            producers += [
                partial(candidates.export_again, name, model, params, shape, how, folder)
                for how in candidates.other_exports(params.export, model.task)
            ]
        return try_all(known, path, producers, params.opencv)


def try_file(
    path: Path,
    blob: np.ndarray,
    opencv: OpenCVParams,
    limits: Limits,
    onnxruntime: BackendParams,
) -> list[Outcome]:
    """Try all changes to a bare ONNX file, against ONNX Runtime's output for one blob."""
    forward = load_onnxruntime(path, onnxruntime)
    known = ModelWithReference(path.name, forward, "ONNX Runtime", limits, FILE_PERTURB, [blob])
    with TemporaryDirectory() as folder:
        return try_all(known, path, rewrites(path, blob.shape, Path(folder), None), opencv)


def rewrites(
    path: Path, shape: Shape, folder: Path, name: str | None
) -> list[Callable[[], Candidate]]:
    """Return functions that produce the rewritten files."""
    return [
        partial(candidates.rewrite, how, path, shape, folder, name) for how in candidates.REWRITES
    ]


def try_all(
    known: ModelWithReference,
    path: Path,
    producers: Iterable[Callable[[], Candidate]],
    opencv: OpenCVParams,
) -> list[Outcome]:
    """Run the file at `path` and, if it fails, all candidates, in each engine."""
    unchanged = Candidate("unchanged", 0, path, "", settings={})
    log(f"{known.name}: {known.images} images, against {known.reference}")
    first = attempt(known, unchanged, opencv, None)
    if first.passes:
        return [first]
    # `auto` stands for the new engine, or for the classic one where the new one refuses a model.
    tried = ("auto", "new") if opencv.engine == "auto" else ("auto", opencv.engine)
    others = [name for name in engines() if name not in tried]
    outcomes = [first]
    outcomes += [attempt(known, unchanged, opencv, engine) for engine in others]
    for produce in producers:
        candidate = produce()
        if candidate.path is None:
            size, failure = candidate.change_size, candidate.failure
            outcomes.append(Outcome(candidate.label, "", "", size, "", failure=failure))
            continue
        fitting = known.cropped(candidate.shape) if candidate.shape else known
        outcomes += [attempt(fitting, candidate, opencv, engine) for engine in (None, *others)]
    # Not by time, which would order equal changes differently from run to run.
    return sorted(outcomes, key=lambda one: (not one.passes, one.change_size))


def attempt(
    known: ModelWithReference, candidate: Candidate, opencv: OpenCVParams, engine: str | None
) -> Outcome:
    """Run a file in an engine, by default the configured one, also on dirty heaps."""
    params = opencv if engine is None else opencv.model_copy(update={"engine": engine})
    label, change_size, advice = candidate.label, candidate.change_size, candidate.advice
    settings = candidate.settings
    if engine is not None:
        own: Settings = {"opencv": {"engine": engine}}
        setting = settings_text(own, known.keys)
        settings = None if settings is None else settings | own
        label = f"{label}, engine {engine}" if change_size else f"engine {engine}"
        advice = f"{advice}, and {setting}" if advice else setting
        change_size = change_size + WITH_ENGINE if change_size else ENGINE_CHANGE
    size = f"{candidate.path.stat().st_size / 1e6:.1f} MB"
    outcome = Outcome(label, size, params.engine, change_size, advice, settings=settings)
    outcome.short_lived = short_lived(candidate.exporter or known.exporter, params.engine)
    log(f"{known.name}: {label}")
    try:
        outputs, again, outcome.ms = run_opencv_on(candidate.path, params, known.blobs)
        judge(outcome, known, outputs)
        if not same_bits(again, outputs[0]):
            outcome.failure = "unstable: a second pass gave another output"
        elif outcome.passes:
            outcome.failure = instability(candidate.path, params, known, outputs)
    except BackendFailure as failure:
        outcome.failure = f"{failure.kind}: {short_reason(failure, candidate.path)}"
    return outcome


def short_lived(exporter: str, engine: str) -> str:
    """Return why what rests on an exporter and an engine will not last, '' where it will."""
    reasons = []
    if exporter == "torchscript":
        reasons.append("PyTorch has deprecated the exporter torchscript")
    if engine == "classic" and "new" in engines():
        reasons.append("OpenCV 5.x has removed the engine classic on its main branch")
    return " and ".join(reasons)


def short_reason(failure: BackendFailure, path: Path) -> str:
    """Return a failure's message without the file and what OpenCV puts around the reason."""
    return re.sub(AROUND_REASON, "", failure.message.replace(f"{path}: ", "")).strip()


def run_opencv_on(
    path: Path, params: OpenCVParams, blobs: list[np.ndarray], heap: dict[str, str] | None = None
) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Run a file in OpenCV, in a process of its own with the environment `heap`.

    Returns the logits of each blob, the logits of a second pass of the first blob, and the
    milliseconds per image of that pass. Raises BackendFailure.
    """
    load = IsolatedForward(
        load_opencv, path, params, limit_s=params.time_limit, environment=heap, quiet=True
    )
    with load as forward:
        outputs = [forward(blob) for blob in blobs]
        again = forward(blobs[0])
        ms = 1e3 * forward.seconds / len(blobs[0])
    return outputs, again, ms


def judge(outcome: Outcome, known: ModelWithReference, outputs: list[np.ndarray]) -> None:
    """Compare outputs with the expected ones and the limits, and complete the outcome."""
    parity = Parity()
    for output, expected in zip(outputs, known.expected, strict=True):
        if expected.ndim < 2 and output.size == expected.size:  # OpenCV may add an axis
            output, expected = output.reshape(1, -1), expected.reshape(1, -1)
        if output.shape != expected.shape:
            outcome.failure = f"shape: {output.shape} in place of {expected.shape}"
            return
        parity.update_logits(output, expected)
        classes = predicted_classes(output), predicted_classes(expected)
        parity.update_classes(*classes)
        parity.update_ties(*classes, expected)
    scores = parity.scores()
    outcome.rel, outcome.agreement = scores.rel, with_ties(scores, known.limits)
    if not all(np.isfinite(output).all() for output in outputs):
        outcome.failure = "NaN or infinity in the output"
    else:
        outcome.failure = exceeded(scores, known.limits) or ""


def instability(
    path: Path, params: OpenCVParams, known: ModelWithReference, outputs: list[np.ndarray]
) -> str:
    """Run a file on heaps dirtied on purpose; returns which one changes the outputs, or ''."""
    for value in known.perturb:
        if sys.platform == "linux":
            heap, setting = dirty_heap(value), f"{PERTURB}={value}"
        else:
            heap, setting = {}, "a fresh process"
        dirty, _, _ = run_opencv_on(path, params, known.blobs, heap)
        if not all(map(same_bits, dirty, outputs)):
            return f"unstable: other outputs with {setting}"
    return ""


def common_shape(blobs: list[np.ndarray]) -> Shape:
    """Return the largest shape to which all blobs can be cropped."""
    return tuple(min(lengths) for lengths in zip(*(blob.shape for blob in blobs), strict=True))


def first_blobs(name: str, model: ModelParams, params: Params) -> list[np.ndarray]:
    """Return the first val images as the stages feed them, in batches, as far as the model's file
    accepts their size."""
    split = Split(model.preprocess, "val", model.task)
    path = onnx_path(name)
    graph = parse(path)
    lengths = input_lengths(graph, network_input(path, graph).name)
    size = min(params.inference.batch_size.of(model.task), IMAGES)
    if lengths and lengths[0]:
        size = lengths[0]
    ranges = [(start, min(stop, IMAGES)) for start, stop in split.batches(size) if start < IMAGES]
    normalization = read_normalization(model.preprocess)
    blobs = (normalize(split.images(start, stop), **normalization) for start, stop in ranges)
    return [blob for blob in blobs if fits(blob.shape, lengths)]


def known_model(
    name: str, model: ModelParams, params: Params, blobs: list[np.ndarray]
) -> ModelWithReference:
    """Return the logits by PyTorch, or by ONNX Runtime for a model that is an ONNX file from the
    start."""
    if model.onnx:
        forward, reference = load_onnxruntime(onnx_path(name), params.onnxruntime), "ONNX Runtime"
    else:
        from parity.backends.pytorch import load_pytorch
        from parity.networks.network import saved_network

        network = saved_network(name, model)
        forward, reference = load_pytorch(network, params.pytorch), "PyTorch"
    limits, perturb = gate_limits(params, name), params.stability.perturb
    exporter = "" if model.onnx else params.export.exporter
    return ModelWithReference(
        name, forward, reference, limits, perturb, blobs, f"models.{name}.", exporter
    )


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [[cell.replace("|", "/") for cell in one.row()] for one in outcomes]
    return markdown_table([list(COLUMNS), *rows], left=4).rstrip()


def conclusion(name: str, outcomes: list[Outcome]) -> Iterator[str]:
    """Yield lines that say what to change."""
    best = outcomes[0]
    yield ""
    if not best.passes:
        yield f"{name}: none of these changes works"
    elif best.change_size == 0:
        yield f"{name}: passes unchanged, no workaround is needed"
    else:
        yield f"{name}: the smallest change that works: {best.change}, {best.ms:.1f} ms an image"
        yield f"  {best.advice}"
    if best.passes and best.short_lived:
        yield f"  {NOT_LASTING}: {best.short_lived}"
        lasting = next((one for one in outcomes if one.passes and not one.short_lived), None)
        if lasting:
            yield f"  the smallest that lasts: {lasting.change}: {lasting.advice}"


def smallest_setting(outcomes: list[Outcome]) -> dict[str, object]:
    """Return the dotted keys and values, below the model's entry, of the smallest change that works
    and that settings make; none where there is no such change."""
    best = next((one for one in outcomes if one.passes and one.settings), None)
    return {
        f"{section}.{field}": value
        for section, fields in (best.settings if best else {}).items()
        for field, value in fields.items()
    }
