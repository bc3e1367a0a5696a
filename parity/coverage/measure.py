"""Measure one model of `make coverage`: export it with each exporter, run it in each engine.

Exports and engines run in processes of their own. Each cell is written as soon as it is measured,
so that an interrupted run resumes there; on a cluster, with the others of its model. Large files
are removed with the model.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from parity.backends.isolated import BackendWorker
from parity.backends.onnxruntime import load_onnxruntime
from parity.core.cli import InputError, log
from parity.core.files import scratch_directory
from parity.core.params import BackendParams, ExportParams, OpenCVParams, Params
from parity.coverage.cell_verdict import judge_cell
from parity.coverage.cells import Cell, Figures, current_figures, write_cell
from parity.coverage.figures import failure_content, measure_groups
from parity.coverage.groups import Group, Outputs, Run, read_groups, run_groups
from parity.coverage.memory import (
    LimitedForward,
    out_of_memory_recognised,
    result_or_disk_error,
    with_memory_limit,
)
from parity.coverage.mended import can_be_mended, is_tried, judge_mended, measure_mended
from parity.coverage.opencv_versions import load_opencv_of
from parity.coverage.reference import Shape, ZooModel, export_model, make_exact, make_reference
from parity.mending.steps import counts_text

WORK = Path("data/coverage/work")
CallInWorker = Callable[..., object]  # a function and its arguments, called in PyTorch's process


@dataclass(frozen=True)
class Job:
    """The cells to measure of one model."""

    cells: Sequence[Cell]
    folders: Mapping[str, Path | None]  # of each version of OpenCV
    fresh: Mapping[str, Mapping[str, str]]  # the environments of the processes that run it again
    params: Params
    place: str  # among the jobs of the run, as 3/82
    mend: bool = False  # the cells that fail

    def __str__(self) -> str:
        return self.cells[0].model


Measured = tuple[Cell, Figures]


def measure_model(job: Job) -> None:
    """Measure and write the cells of a job.

    Raises OSError where the disk is full or a file that the job wrote is gone: that is no result.
    """
    for cell, figures in _measured(job, WORK):
        note(cell, figures, job)


def measure_elsewhere(job: Job) -> list[Measured]:
    """Measure the cells of a job on a worker, whose large files stay on its own disk; return what
    `note` writes. Raises OSError as `measure_model` does."""
    with TemporaryDirectory() as folder:
        return list(_measured(job, Path(folder)))


def note(cell: Cell, figures: Figures, job: Job) -> None:
    """Write a cell of a job, and print one line of progress."""
    write_cell(cell, figures, job.params)
    (log_mended if figures.get("mended") else log_verdict)(cell, figures, job)


def _measured(job: Job, work: Path) -> Iterator[Measured]:
    """Yield the figures of each cell, and again with those of its mended file; `work` is a folder
    for large files."""
    first, limits = job.cells[0], job.params.coverage
    with (
        scratch_directory(work / first.model) as folder,
        BackendWorker(limits.time_limit, quiet=True) as worker,
    ):
        model = ZooModel(first.model, first.task, folder.resolve(), first.zoo)

        def in_worker(function: Callable, *arguments):
            call = (with_memory_limit, limits.memory_limit, result_or_disk_error, model.folder)
            with out_of_memory_recognised(limits):
                result = worker.call(*call, function, *arguments)
            if isinstance(result, OSError):
                raise result
            return result

        reference, failure = attempt(in_worker, make_reference, model, job.params)
        reference = (reference or {}) | {"failure": failure_content(failure, model.folder)}
        groups = []
        if not failure:
            exact, failure = attempt(in_worker, make_exact, model, job.params)
            reference |= {"exact": exact, "exact_failure": failure_content(failure, model.folder)}
            groups = list(read_groups(model, job.params, with_exact=failure is None))
        for (exporter, opset), cells in groupby(job.cells, lambda one: one.combination[:2]):
            how = job.params.export.model_copy(update={"exporter": exporter, "opset": opset})
            files = ExportedFiles(model, how, groups, job.params, in_worker)
            for cell in cells:
                figures = current_figures(cell, job.params)
                if figures is None:
                    figures = {"reference": reference, **files.figures()}
                    figures["groups"] = measure_engine(cell, files, job)
                    files.check_present()
                    yield cell, figures
                if job.mend and is_to_be_mended(cell, figures, job.params):
                    mended = mend_cell(cell, files, job)
                    files.check_present()
                    yield cell, figures | {"mended": mended}


@dataclass(frozen=True)
class ExportedFile:
    """An ONNX file, or why it could not be exported, and ONNX Runtime's runs of the groups that the
    file takes."""

    path: Path
    failure: InputError | None = None
    onnxruntime: Mapping[Group, Run] = field(default_factory=dict)


class ExportedFiles:
    """A model's ONNX files by one exporter and opset: `dynamic`, and a fixed-size file for each
    group, exported on demand."""

    def __init__(
        self,
        model: ZooModel,
        how: ExportParams,
        groups: list[Group],
        params: Params,
        in_worker: CallInWorker,
    ) -> None:
        self.groups, self.folder = groups, model.folder
        self._limits, self._fixed = params.coverage, {}
        self._export = partial(attempt, in_worker, export_model, model, params, how)
        self._name = f"{how.exporter}{how.opset}"
        self.dynamic = ExportedFile(self.folder / f"{self._name}.onnx")
        if groups:
            # Two images: the exporter takes an axis of length one for a constant.
            self.dynamic = self._exported(self._name, (2, *groups[0].shape[1:]), True, groups)

    def fixed(self, group: Group) -> ExportedFile:
        """The file that takes batches of this group only."""
        if group not in self._fixed:
            name = f"{self._name}-{group}"
            self._fixed[group] = self._exported(name, group.shape, False, [group])
        return self._fixed[group]

    def _exported(
        self, name: str, shape: Shape, dynamic: bool, groups: list[Group]
    ) -> ExportedFile:
        path = self.folder / f"{name}.onnx"
        _, failure = self._export(shape, dynamic, path)
        if failure:
            return ExportedFile(path, failure)
        backend = (load_onnxruntime, path, BackendParams(threads=1))
        start = partial(LimitedForward, self._limits, *backend)
        return ExportedFile(path, None, run_groups(start, groups))

    def figures(self) -> Figures:
        """The figures of the export and of ONNX Runtime, for a cell."""
        runs = self.dynamic.onnxruntime.values()
        times = [run.ms for run in runs if isinstance(run, Outputs)]
        failures = [run for run in runs if not isinstance(run, Outputs)]
        return {
            "export": {"failure": failure_content(self.dynamic.failure, self.folder)},
            "onnxruntime": {
                "failure": failure_content(failures[0] if failures else None, self.folder),
                "ms": times[0] if times else None,
            },
        }

    def check_present(self) -> None:
        """Raise FileNotFoundError if an exported file has disappeared; that, and not the engine,
        may be why a run failed."""
        for file in (self.dynamic, *self._fixed.values()):
            if self.groups and not file.failure and not file.path.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file.path))


def measure_engine(cell: Cell, files: ExportedFiles, job: Job) -> list[Figures]:
    """Run the engine of a cell on each group; return the figures of each, none without a file.

    A group that fails is run again from a fixed-size file, until such a file fails too.
    """
    if not files.groups or files.dynamic.failure:
        return []

    def run(file: ExportedFile, groups: list[Group]) -> dict[Group, Figures]:
        return run_file(cell, file.path, groups, file.onnxruntime, files.folder, job)

    results = run(files.dynamic, files.groups)
    for group in [group for group, figures in results.items() if figures["failure"]]:
        fixed, dynamic_figures = files.fixed(group), results[group]
        failure = failure_content(fixed.failure, files.folder)
        fixed_figures = None if failure else run(fixed, [group])[group]
        failure = failure or fixed_figures["failure"]
        if failure:
            results[group] = dynamic_figures | {"fixed_failure": failure}
            break  # the engine does not fail because of dynamic sizes
        results[group] = fixed_figures | {"before": dynamic_figures["failure"]}
    return list(results.values())


def run_file(
    cell: Cell,
    path: Path,
    groups: Sequence[Group],
    referee: Mapping[Group, Run],
    folder: Path,
    job: Job,
) -> dict[Group, Figures]:
    """Run a file in the engine of a cell; `referee`: ONNX Runtime's runs."""
    backend = (load_opencv_of, job.folders[cell.combination.opencv], path, opencv_of(cell, job))
    start = partial(LimitedForward, job.params.coverage, *backend)
    return measure_groups(start, groups, referee, job.fresh, folder)


def opencv_of(cell: Cell, job: Job) -> OpenCVParams:
    """How a cell runs OpenCV."""
    return OpenCVParams(
        engine=cell.combination.engine,
        backend="default",
        target="cpu",
        threads=1,
        time_limit=job.params.coverage.time_limit,
    )


def is_to_be_mended(cell: Cell, figures: Figures, params: Params) -> bool:
    """Whether mending may change what a cell holds, which are `figures`."""
    return can_be_mended(figures | {"task": cell.task}, params) and not is_tried(figures)


def mend_cell(cell: Cell, files: ExportedFiles, job: Job) -> Figures:
    """Mend the dynamic file of a cell, and run the result against ONNX Runtime's original."""
    referee, folder = files.dynamic.onnxruntime, job.folders[cell.combination.opencv]

    def measure(path: Path, groups: Sequence[Group]) -> Mapping[Group, Figures]:
        return run_file(cell, path, groups, referee, files.folder, job)

    rel_limit = job.params.gate.limits.of(cell.task).rel
    how = opencv_of(cell, job)
    settings = (folder, how, job.params, rel_limit)
    return measure_mended(files.dynamic.path, files.groups, *settings, measure)


def attempt(function: Callable, *arguments) -> tuple[object, InputError | None]:
    """Return a function's result and None, or None and the InputError that it raised."""
    try:
        return function(*arguments), None
    except InputError as error:
        return None, error


def log_verdict(cell: Cell, figures: Figures, job: Job) -> None:
    """Print one line of progress."""
    verdict = judge_cell(figures | {"task": cell.task}, job.params)
    why = f": {verdict.reason[:100]}" if verdict.reason else ""
    log(f"[{job.place}] {cell.model}, {cell.combination}: {verdict.verdict}{why}")


def log_mended(cell: Cell, figures: Figures, job: Job) -> None:
    """Print one line on what mending gives."""
    verdict = judge_mended(figures | {"task": cell.task}, job.params)
    mended = figures["mended"]
    what = f"{verdict.verdict}, mended: {counts_text(mended['rules'])}" if verdict else "not mended"
    log(f"[{job.place}] {cell.model}, {cell.combination}: {what}")
