"""A run of `make coverage`: plan the cells that are missing, measure them, write the answer."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from parity.core.cli import log
from parity.core.cluster import Cluster, open_cluster
from parity.core.params import TORCHVISION, Params, Task
from parity.core.resumable import (
    check_writable,
    exclusive_run,
    job_failures_refused,
    run_jobs,
)
from parity.coverage.cells import CELLS, Cell, current_figures, of_zoo
from parity.coverage.measure import (
    WORK,
    Job,
    is_to_be_mended,
    measure_elsewhere,
    measure_model,
    note,
)
from parity.coverage.opencv_versions import engines_of, provide
from parity.coverage.packages import FOLDER
from parity.coverage.record import check_nothing_is_lost, full_record, narrowed_record
from parity.coverage.report import FULL, NARROWED, write_answer
from parity.coverage.selection import Selection, select
from parity.coverage.zoo_packages import provide_zoo
from parity.evaluation.stability import rerun_environments


def run_coverage(
    models: Mapping[str, Task],
    exporters: Sequence[tuple[str, int]],
    engines: str,
    versions: Sequence[str],
    processes: int,
    params: Params,
    mend: bool = False,
    zoo: str = TORCHVISION,
) -> None:
    """Measure what is not on disk yet of a zoo's models, and write the answer: of a full run to the
    files that Git tracks, of a narrowed one (see Selection) to data/coverage/narrowed/.

    `engines` is a list as a user writes it: which engines there are depends on the version of
    OpenCV. With `mend`, the cells that fail are measured again with a mended file. Raises
    InputError for wrong input, for a folder that cannot be written, for a full disk, and where
    another run is at work.
    """
    check_writable(of_zoo(CELLS, zoo))
    with exclusive_run(FOLDER, WORK, "make coverage"):
        if zoo != TORCHVISION:
            provide_zoo(zoo, params.coverage.zoo[zoo], params.coverage.time_limit)
        folders = {version: provide(version) for version in versions}
        available = {version: engines_of(version, folder) for version, folder in folders.items()}
        selection = select(models, exporters, engines, available, params, zoo)
        planned = {(name, one) for name in models for one in selection.combinations}
        full = FULL.of_zoo(zoo)
        files = NARROWED.of_zoo(zoo) if selection.narrowed else full
        for path in (files.record, files.page, files.picture):
            check_writable(path.parent)
        if not selection.narrowed:
            check_nothing_is_lost(params, planned, zoo)
        jobs = plan(selection, folders, params, mend)
        cells = sum(len(job.cells) for job in jobs)
        found = f"{len(models)} models: {cells} cells of {len(jobs)} models to measure"
        with open_cluster(params.cluster) as cluster:
            log(f"{found}, {cluster.workers if cluster else processes} at a time")
            if cluster is None:
                run_jobs(measure_model, jobs, processes, FOLDER)
            else:
                measure_on(cluster, jobs)
        if selection.narrowed:
            write_answer(narrowed_record(params, planned, zoo), files, params.plot.dpi)
            log(f"a narrowed run; {full.page} stays as it is: {files}")
        else:
            write_answer(full_record(params, selection.combinations, zoo), files, params.plot.dpi)
            log(str(files))


def measure_on(cluster: Cluster, jobs: Sequence[Job]) -> None:
    """Have the workers of a cluster measure, on the processor that cells depend on, and write the
    cells of each job as soon as it is done."""
    results = cluster.results(measure_elsewhere, jobs, in_order=False, same_processor=True)
    with job_failures_refused(FOLDER), closing(results):
        for job, measured in results:
            for cell, figures in measured:
                note(cell, figures, job)


def plan(
    selection: Selection, folders: Mapping[str, Path | None], params: Params, mend: bool = False
) -> list[Job]:
    """Return a job for each model with missing cells, or with `mend` with cells to mend.

    `folders`: of each version of OpenCV.
    """

    def is_done(cell: Cell) -> bool:
        figures = current_figures(cell, params)
        return figures is not None and not (mend and is_to_be_mended(cell, figures, params))

    _, fresh = rerun_environments(params.stability.perturb)
    missing = [
        [cell for cell in selection.cells(model) if not is_done(cell)] for model in selection.models
    ]
    todo = [cells for cells in missing if cells]
    return [
        Job(cells, folders, fresh, params, f"{number}/{len(todo)}", mend)
        for number, cells in enumerate(todo, start=1)
    ]
