"""A run of `make operators`: plan the cells that are missing, measure them, write the answer."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from parity.core.cli import log
from parity.core.params import Params
from parity.core.resumable import check_writable, exclusive_run, run_jobs
from parity.coverage.opencv_versions import engines_of, provide
from parity.coverage.selection import default_engines, parse_names
from parity.evaluation.stability import rerun_environments
from parity.operators.build import (
    build_record,
    by_operator,
    check_nothing_is_lost,
    full_record,
    missing_by_operator,
)
from parity.operators.case import EXPANDED_ROW, Case
from parity.operators.cells import CELLS, FOLDER, WORK, conditions
from parity.operators.measure import Job, Task, measure_job
from parity.operators.record import Column
from parity.operators.report import FULL, NARROWED, write_answer

JOB_CASES = 250  # cases of a job, at least; starting its processes takes as long as some 50


def run_operators(
    cases: Sequence[Case],
    operators: str,
    versions: Sequence[str],
    processes: int,
    params: Params,
    causes: Mapping[str, str],
) -> None:
    """Measure what is not on disk yet, and write the answer: to the files that Git tracks, or with
    `operators`, a list as a user writes it, to data/operators/narrowed/.

    `causes` says what OpenCV does wrong, by the `cause` of a case. Raises InputError for wrong
    input, for a folder that cannot be written, for a full disk, and where another run is at work.
    """
    names = parse_names(operators, "OPERATORS", dict.fromkeys(map(_name, cases)))
    files = NARROWED if names else FULL
    for path in (CELLS, files.record.parent, files.page.parent, files.picture.parent):
        check_writable(path)
    with exclusive_run(FOLDER, WORK, "make operators"):
        folders = {version: provide(version) for version in versions}
        columns = [
            Column(engine, version)
            for version, folder in folders.items()
            for engine in default_engines(engines_of(version, folder))
        ]
        how = conditions(params.stability.perturb)
        if not names:
            check_nothing_is_lost(cases, columns, how)
        chosen = [case for case in cases if not names or _name(case) in names]
        _, heaps = rerun_environments(params.stability.perturb)
        jobs = plan(chosen, columns, folders, list(heaps.values()), how)
        missing = sum(
            len(one) for job in jobs for task in job.tasks for one in task.missing.values()
        )
        total = f"{len(chosen)} cases in {len(columns)} engines"
        log(f"{total}: {missing} cells of {len(jobs)} jobs to measure, {processes} at a time")
        run_jobs(measure_job, jobs, processes, FOLDER)
        if names:
            record = build_record(chosen, columns, how, causes)
            log(f"a narrowed run; {FULL.page} stays as it is")
        else:
            record = full_record(chosen, columns, how, causes)
        write_answer(record, files, params.plot.dpi)
        log(str(files))


def _name(case: Case) -> str:
    """What a user calls a case's operator; its expanded form goes with it."""
    return case.operator.removesuffix(EXPANDED_ROW)


def plan(
    cases: Sequence[Case],
    columns: Sequence[Column],
    folders: Mapping[str, Path | None],
    heaps: Sequence[Mapping[str, str]],
    how: Mapping,
) -> list[Job]:
    """Return jobs of whole operators for the cells that are not on disk. `how` are the conditions
    that cells depend on; for `folders` and `heaps` see Job."""
    missing = {column: missing_by_operator(column, cases, how) for column in columns}
    tasks = []
    for operator in by_operator(cases):
        lacking = {column: missing[column][operator] for column in columns}
        lacking = {column: own for column, own in lacking.items() if own}
        if lacking:
            tasks.append(Task(operator, lacking))
    batches = _batches(tasks)
    return [
        Job(batch, folders, heaps, how, f"{number}/{len(batches)}")
        for number, batch in enumerate(batches, start=1)
    ]


def _batches(tasks: Collection[Task]) -> list[list[Task]]:
    batches: list[list[Task]] = [[]]
    for task in tasks:
        if sum(len(one.cases) for one in batches[-1]) >= JOB_CASES:
            batches.append([])
        batches[-1].append(task)
    return [batch for batch in batches if batch]
