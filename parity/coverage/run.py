"""A run of `make coverage`: plan the cells that are missing, measure them, write the answer."""

import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from parity.core.cli import InputError, log
from parity.core.files import full_disk_refused, locked
from parity.core.params import TORCHVISION, Params, Task
from parity.core.processes import in_processes
from parity.core.system_errors import DISK_FULL
from parity.coverage.cells import CELLS, Cell, current_figures, of_zoo
from parity.coverage.measure import WORK, Job, is_to_be_mended, measure_model
from parity.coverage.opencv_versions import engines_of, provide
from parity.coverage.packages import FOLDER
from parity.coverage.record import check_nothing_is_lost, full_record, narrowed_record
from parity.coverage.report import FULL, NARROWED, write_answer
from parity.coverage.selection import Selection, select
from parity.coverage.zoo_packages import provide_zoo
from parity.evaluation.stability import rerun_environments

RESUMES = "the next run resumes there"


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
    with exclusive_run():
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
        log(f"{found}, {processes} at a time")
        run_jobs(jobs, processes)
        if selection.narrowed:
            write_answer(narrowed_record(params, planned, zoo), files, params.plot.dpi)
            log(f"a narrowed run; {full.page} stays as it is: {files}")
        else:
            write_answer(full_record(params, selection.combinations, zoo), files, params.plot.dpi)
            log(str(files))


def plan(
    selection: Selection, folders: Mapping[str, Path | None], params: Params, mend: bool = False
) -> list[Job]:
    """Return a job for each model with missing cells, or with `mend` with cells to mend.

    `folders`: of each version of OpenCV.
    """

    def is_done(cell: Cell) -> bool:
        if current_figures(cell, params) is None:
            return False
        return not (mend and is_to_be_mended(cell, params))

    _, fresh = rerun_environments(params.stability.perturb)
    missing = [
        [cell for cell in selection.cells(model) if not is_done(cell)] for model in selection.models
    ]
    todo = [cells for cells in missing if cells]
    return [
        Job(cells, folders, fresh, params, f"{number}/{len(todo)}", mend)
        for number, cells in enumerate(todo, start=1)
    ]


def run_jobs(jobs: Sequence[Job], processes: int) -> None:
    """Measure the jobs in parallel processes.

    Raises InputError where such a process died, or a file of the run is gone.
    """
    try:
        with closing(in_processes(measure_model, jobs, processes)) as results:
            for _ in results:
                pass
    except ChildProcessError as error:
        raise InputError(f"a process that measured has died: {error}; {RESUMES}") from None
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        what = f"{error.filename or FOLDER}: {error.strerror or error}"
        raise InputError(f"{what}; {RESUMES}") from None


@contextmanager
def exclusive_run() -> Iterator[None]:
    """Lock out other runs and provide an empty folder for large files. It is removed at the end,
    also on SIGTERM.

    Raises InputError if another run is at work or the disk is full.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with locked(FOLDER, "another `make coverage` is running"):
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            shutil.rmtree(WORK, ignore_errors=True)
            with full_disk_refused(FOLDER, lambda: f"its files removed; {RESUMES}"):
                yield
        finally:
            shutil.rmtree(WORK, ignore_errors=True)
            signal.signal(signal.SIGTERM, before)


def check_writable(folder: Path) -> None:
    """Create a folder where it is missing; raise InputError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
