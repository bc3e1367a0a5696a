"""One model of `make coverage`: exported with each exporter, run in each engine, and compared.

Exports and engines run in processes of their own. Each cell is written as soon as it is measured,
so that an interrupted run goes on where it was; large files are gone with the model.
"""

import errno
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker, IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.core.cli import InputError, log
from parity.core.files import scratch_directory
from parity.core.params import BackendParams, CoverageParams, OpenCVParams, Params
from parity.coverage.cells import Cell, Figures, judge, reason_of, write_cell
from parity.coverage.memory import ran_out, told_apart, with_memory_limit
from parity.coverage.opencv_versions import load_opencv_of
from parity.coverage.reference import Shape, ZooModel, export_model, make_reference, parse_size
from parity.coverage.synthetic_images import patterns
from parity.evaluation.scores import relative_difference, same_bits

WORK = Path("data/coverage/work")
Open = Callable[[Mapping[str, str]], IsolatedForward]  # with what is added to the environment


@dataclass(frozen=True, eq=False)
class Group:
    """Images of one size, `batch` at a time."""

    blob: np.ndarray  # all of them, float32 (N, 3, H, W)
    batch: int
    reference: np.ndarray  # PyTorch's answers to them

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.batch, *self.blob.shape[1:])

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


@dataclass(frozen=True)
class Answers:
    logits: np.ndarray  # of the images of a group, or of its first batch
    ms: float  # median of the forward passes
    again: np.ndarray | None = None  # of the first batch, once more after all the others


class OutOfMemory(BackendFailure):
    """What a process could not do within the limit of memory."""

    def __init__(self, message: str, limits: CoverageParams) -> None:
        limit = f"out of memory, limit {limits.memory_limit:g} GB"
        super().__init__("error", f"{limit}: {message}")


class LimitedForward(IsolatedForward):
    """The forward pass of a backend in a process within the limits. Raises OutOfMemory, too."""

    def __init__(
        self, limits: CoverageParams, *backend: Any, environment: Mapping[str, str]
    ) -> None:
        self._limits = limits
        how = {"limit_s": limits.time_limit, "environment": environment, "quiet": True}
        load = (with_memory_limit, limits.memory_limit, *backend)
        memory_named(limits, super().__init__, *load, **how)

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        return memory_named(self._limits, super().__call__, blob)


@dataclass(frozen=True)
class Job:
    """The cells of one model that are to be measured, and which one of the models it is."""

    cells: Sequence[Cell]
    folders: Mapping[str, Path | None]  # of each version of OpenCV
    fresh: Mapping[str, Mapping[str, str]]  # environments of the processes that run it again
    params: Params
    place: str


def run_model(job: Job) -> int:
    """Measure the cells of a job; returns how many these are.

    Raises OSError where the disk is full or a file of its own is gone: that is no result.
    """
    first = job.cells[0]
    limits = job.params.coverage
    with (
        scratch_directory(WORK / first.model) as folder,
        BackendWorker(limits.time_limit, quiet=True) as worker,
    ):
        model = ZooModel(first.model, first.task, folder.resolve())

        def in_worker(function: Callable, *arguments):
            how = (with_memory_limit, limits.memory_limit, told_apart, model.folder, function)
            answer = memory_named(limits, worker.call, *how, *arguments)
            if isinstance(answer, OSError):
                raise answer
            return answer

        reference, failure = attempt(in_worker, make_reference, model, job.params)
        reference = (reference or {}) | {"failure": content(failure, model.folder)}
        groups = [] if failure else list(groups_of(model, job.params))
        for (exporter, opset), cells in groupby(job.cells, lambda one: (one.exporter, one.opset)):
            exported = Exported(model, exporter, opset, groups, job.params, in_worker)
            for cell in cells:
                figures = {"reference": reference, **exported.figures()}
                figures["groups"] = []
                if not failure and not exported.dynamic.failure:
                    figures["groups"] = measure(cell, exported, job)
                exported.check_files()
                write_cell(cell, figures, job.params)
                tell(cell, figures, job)
    return len(job.cells)


def groups_of(model: ZooModel, params: Params) -> Iterator[Group]:
    """Each size with each image alone, then with all of them as one batch."""
    images = params.coverage.images
    for size in params.coverage.sizes.of(model.task):
        blob = patterns(images, *parse_size(size), params.seed)
        reference = np.load(model.folder / f"{size}.npy")
        for batch in (1, images):
            yield Group(blob, batch, reference)


@dataclass(frozen=True)
class File:
    """An ONNX file, or why there is none, and ONNX Runtime's answers to what it takes."""

    path: Path
    failure: InputError | None = None
    onnxruntime: Mapping[Group, Answers | BackendFailure] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.path.parent


class Exported:
    """A model's ONNX files of one exporter: one of dynamic sizes, those of fixed ones on demand."""

    def __init__(
        self,
        model: ZooModel,
        exporter: str,
        opset: int,
        groups: list[Group],
        params: Params,
        in_worker: Callable,
    ) -> None:
        self.folder, self.groups, self.limits = model.folder, groups, params.coverage
        self._fixed: dict[Group, File] = {}
        how = params.export.model_copy(update={"exporter": exporter, "opset": opset})
        self._export = lambda *where: attempt(in_worker, export_model, model, params, how, *where)[
            1
        ]
        self._name = f"{exporter}{opset}"
        self.dynamic = File(self.folder / f"{self._name}.onnx")
        if groups:
            # The exporter takes an axis of length one for a constant.
            self.dynamic = self._file(self._name, (2, *groups[0].shape[1:]), True, groups)

    def figures(self) -> Figures:
        """Of the export and of ONNX Runtime, for a cell."""
        answers = self.dynamic.onnxruntime.values()
        times = [one.ms for one in answers if isinstance(one, Answers)]
        failures = [one for one in answers if not isinstance(one, Answers)]
        return {
            "export": {"failure": content(self.dynamic.failure, self.folder)},
            "onnxruntime": {
                "failure": content(failures[0] if failures else None, self.folder),
                "ms": times[0] if times else None,
            },
        }

    def fixed(self, group: Group) -> File:
        """The file that takes blobs of this one shape alone."""
        if group not in self._fixed:
            name = f"{self._name}-{group}"
            self._fixed[group] = self._file(name, group.shape, False, [group])
        return self._fixed[group]

    def _file(self, name: str, shape: Shape, dynamic: bool, groups: list[Group]) -> File:
        path = self.folder / f"{name}.onnx"
        failure = self._export(shape, dynamic, path)
        if failure:
            return File(path, failure)
        backend = (load_onnxruntime, path, BackendParams(threads=1))
        return File(path, None, answers_of(opener(self.limits, *backend), groups))

    def check_files(self) -> None:
        """Raise FileNotFoundError where a file is gone that was written: what failed without it
        failed for that."""
        for file in (self.dynamic, *self._fixed.values()):
            if self.groups and not file.failure and not file.path.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file.path))


def measure(cell: Cell, exported: Exported, job: Job) -> list[Figures]:
    """Run a cell's engine; returns the figures of each group."""
    how = OpenCVParams(
        engine=cell.engine,
        backend="default",
        target="cpu",
        threads=1,
        time_limit=job.params.coverage.time_limit,
    )

    def run(file: File, groups: list[Group]) -> dict[Group, Figures]:
        backend = (load_opencv_of, job.folders[cell.opencv], file.path, how)
        return figures_of(opener(job.params.coverage, *backend), groups, file, job.fresh)

    results = run(exported.dynamic, exported.groups)
    failed = [group for group, one in results.items() if one["failure"]]
    for group in failed:
        fixed, before = exported.fixed(group), results[group]
        failure = content(fixed.failure, fixed.folder)
        again = None if failure else run(fixed, [group])[group]
        failure = failure or again["failure"]
        if failure:
            results[group] = before | {"fixed_failure": failure}
            break  # it is not the dynamic sizes that the engine cannot do
        results[group] = again | {"before": before["failure"]}
    return list(results.values())


def opener(limits: CoverageParams, *backend) -> Open:
    """How to start a process that runs a backend: `load` and its arguments."""

    return lambda environment: LimitedForward(limits, *backend, environment=environment)


def figures_of(
    start: Open,
    groups: list[Group],
    file: File,
    fresh: Mapping[str, Mapping[str, str]],
) -> dict[Group, Figures]:
    """How far a backend's answers to a file are from PyTorch's and ONNX Runtime's, and whether they
    stay, the second time and in fresh processes. One that met a limit there shows nothing of it."""
    plain = answers_of(start, groups, again=True)
    figures = {}
    for group, answers in plain.items():
        failed = isinstance(answers, BackendFailure)
        referee = file.onnxruntime[group]
        told = isinstance(referee, Answers)
        figures[group] = {
            "blob": str(group),
            "failure": content(answers if failed else None, file.folder),
            "before": None,  # of a file of dynamic sizes, where this is one of fixed sizes
            "fixed_failure": None,  # of one of fixed sizes, where this is one of dynamic sizes
            "unstable": None,
            "fresh_failure": None,
            "onnxruntime_failed": not told,
            "rel_pytorch": None if failed else relative_difference(answers.logits, group.reference),
            "rel_onnxruntime": None
            if failed or not told
            else relative_difference(answers.logits, referee.logits),
            "rel_export": relative_difference(referee.logits, group.reference) if told else None,
            "ms": None if failed else answers.ms,
        }
    ran = [group for group, answers in plain.items() if isinstance(answers, Answers)]
    runs = {"again": {group: plain[group].again for group in ran}}
    for name, environment in fresh.items():
        answers = answers_of(lambda _, added=environment: start(added), ran, first_alone=True)
        runs[name] = {
            group: one.logits if isinstance(one, Answers) else one for group, one in answers.items()
        }
    for name, found in runs.items():
        for group, logits in found.items():
            if met_a_limit(logits):
                key, what = "fresh_failure", content(logits, file.folder)
            else:
                key, what = "unstable", change(plain[group], logits)
                what = what and {"run": name, "found": what}
            figures[group][key] = figures[group][key] or what
    return figures


def met_a_limit(answers: object) -> bool:
    return isinstance(answers, OutOfMemory) or getattr(answers, "kind", None) == "timeout"


def change(plain: Answers, logits: np.ndarray | BackendFailure) -> str | None:
    """What is other than before in the first answers of a group, in words; None if nothing is."""
    if isinstance(logits, BackendFailure):
        return f"{logits.kind}: {logits}"
    before = plain.logits[: len(logits)]
    if same_bits(before, logits):
        return None
    return f"rel {relative_difference(logits, before):.1e} from the plain run"


def answers_of(
    start: Open, groups: Sequence[Group], **how: bool
) -> dict[Group, Answers | BackendFailure]:
    """Run a backend on groups, one after the other in one process; after a failure in a new one.
    `how`: see `pass_through`."""
    found: dict[Group, Answers | BackendFailure] = {}
    forward = None
    try:
        for group in groups:
            try:
                forward = forward or start({})
            except BackendFailure as failure:  # the model is not read, whatever the group
                return {one: found.get(one, failure) for one in groups}
            try:
                found[group] = pass_through(forward, group, **how)
            except BackendFailure as failure:
                found[group] = failure
                forward.__exit__()
                forward = None
    finally:
        if forward:
            forward.__exit__()
    return found


def pass_through(
    forward: IsolatedForward, group: Group, first_alone: bool = False, again: bool = False
) -> Answers:
    """Run a group batch by batch, or its first batch alone, or that one `again` at the end.

    Raises BackendFailure `shape` for outputs of another shape.
    """
    outputs, seconds = [], []
    for start in range(0, group.batch if first_alone else len(group.blob), group.batch):
        batch = slice(start, start + group.batch)
        outputs.append(forward(group.blob[batch]))
        seconds.append(forward.seconds)
        expected = group.reference[batch].shape
        if outputs[-1].shape != expected:
            found = f"the output has the shape {outputs[-1].shape}; expected {expected}"
            raise BackendFailure("shape", found)
    repeated = forward(group.blob[: group.batch]) if again else None
    return Answers(np.concatenate(outputs), 1e3 * statistics.median(seconds), repeated)


def attempt(function: Callable, *arguments) -> tuple[object, InputError | None]:
    """Return what a function returns, or the InputError that it raised."""
    try:
        return function(*arguments), None
    except InputError as error:
        return None, error


def memory_named(limits: CoverageParams, function: Callable, *arguments, **options):
    """Call a function that works in another process; memory that runs out there is OutOfMemory,
    whether it came as a failure or as a defect."""
    try:
        return function(*arguments, **options)
    except (OSError, RuntimeError) as error:
        message = str(error).strip().splitlines()[-1]
        if not ran_out(message):
            raise
    except InputError as error:
        message = str(error)
        ended = getattr(error, "kind", None) in ("crashed", "timeout")
        if ended or not ran_out(message):
            raise
    raise OutOfMemory(message, limits)


def content(failure: InputError | None, folder: Path) -> Figures | None:
    """A failure as a cell holds it."""
    if failure is None:
        return None
    kind = getattr(failure, "kind", "error")
    return {"kind": kind, "message": reason_of(str(failure), folder)}


def tell(cell: Cell, figures: Figures, job: Job) -> None:
    """One line of progress."""
    verdict = judge(figures | {"task": cell.task}, job.params)
    reason = f": {verdict.reason[:100]}" if verdict.reason else ""
    how = f"{cell.exporter} {cell.opset}, {cell.engine} {cell.opencv}"
    log(f"[{job.place}] {cell.model}, {how}: {verdict.verdict}{reason}")
