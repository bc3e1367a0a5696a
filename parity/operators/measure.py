"""Measure cases in the engines of OpenCV; each operator's cells are written as soon as they are
measured."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from parity.backends.isolated import BackendWorker
from parity.core.cli import log
from parity.core.files import scratch_directory
from parity.operators.case import Case
from parity.operators.cells import (
    WORK,
    Cells,
    cell_content,
    key_of,
    read_cells,
    write_cells,
)
from parity.operators.engine import OpenCVProcess, Run
from parity.operators.judge import Verdict, inapplicable, judge
from parity.operators.record import Column
from parity.operators.reference import TIME_LIMIT, Reference, make_reference

# An earlier case may have damaged the memory of its process: these verdicts are confirmed in other
# processes, which run nothing else.
TO_CONFIRM = ("crashed", "unstable")
ONCE = ("refused", "timeout", "crashed")  # failures that tell enough in one process


@dataclass(frozen=True)
class Task:
    """The cases of an operator that a column lacks."""

    operator: str
    missing: Mapping[Column, Sequence[Case]]

    @property
    def cases(self) -> list[Case]:
        """The cases that any column lacks."""
        return list({key_of(one): one for cases in self.missing.values() for one in cases}.values())


@dataclass(frozen=True)
class Job:
    """Tasks for one process.

    `folders` holds the folder of each version of OpenCV, None for the installed one, `heaps` the
    environments that make a process's heap dirty, `conditions` what cells depend on, and `label`
    the job's place among all.
    """

    tasks: Sequence[Task]
    folders: Mapping[str, Path | None]
    heaps: Sequence[Mapping[str, str]]
    conditions: Mapping
    label: str


class Engine:
    """An engine of an OpenCV in several processes: a plain one, then one for each dirty heap."""

    def __init__(
        self,
        column: Column,
        folder: Path | None,
        heaps: Sequence[Mapping[str, str]],
        work: Path,
    ) -> None:
        environments = ({}, *heaps)
        self._processes = [OpenCVProcess(column, folder, work, one) for one in environments]

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.stop()

    def run(self, case: Case) -> list[Run]:
        """Run a case in each process; only in the plain one where it fails there and what memory
        holds does not matter."""
        plain, *dirty = self._processes
        first = plain.run(case)
        if first.failure and first.failure.kind in ONCE:
            return [first]
        return [first, *(process.run(case) for process in dirty)]


def measure_job(job: Job) -> None:
    """Measure the missing cells of a job and write them."""
    with ExitStack() as stack:
        work = stack.enter_context(scratch_directory(WORK / job.label.replace("/", "-")))
        references = make_references([case for task in job.tasks for case in task.cases])
        columns = list(dict.fromkeys(column for task in job.tasks for column in task.missing))
        for column in columns:
            folder = job.folders[column.opencv]
            engine, second = (Engine(column, folder, job.heaps, work) for _ in range(2))
            with engine, second:
                for task in job.tasks:
                    if cases := task.missing.get(column):
                        known = read_cells(column, task.operator, job.conditions)
                        known |= measure_cases(cases, references, engine, second)
                        write_cells(column, task.operator, known.values(), job.conditions)
        first, last = job.tasks[0].operator, job.tasks[-1].operator
        log(f"{job.label}: {first} to {last}: {len(references)} cases, {len(columns)} engines")


def make_references(cases: Sequence[Case]) -> dict[tuple[str, str], Reference]:
    """Compute the reference of each case, by its key."""
    found = {}
    with BackendWorker(TIME_LIMIT, quiet=True) as worker:
        for case in cases:
            reason = inapplicable(case)
            found[key_of(case)] = Reference([], reason) if reason else make_reference(case, worker)
    return found


def measure_cases(
    cases: Sequence[Case],
    references: Mapping[tuple[str, str], Reference],
    engine: Engine,
    second: Engine,
) -> Cells:
    """Return the cells of cases in an engine; `second` are the processes that confirm."""
    cells = {}
    for case in cases:
        reference = references[key_of(case)]
        if reference.missing:
            verdict = Verdict("not applicable", reference.missing)
        else:
            verdict = judge(reference, engine.run(case))
            if verdict.verdict in TO_CONFIRM:
                verdict = judge(reference, second.run(case))
        cells[key_of(case)] = cell_content(case, verdict, reference.dispute)
    return cells
