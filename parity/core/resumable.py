"""A long run that another cannot disturb, that an interruption does not harm, and that resumes."""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from parity.core.cli import InputError
from parity.core.files import full_disk_refused, locked
from parity.core.machine import cores
from parity.core.processes import Chunk, in_processes
from parity.core.system_errors import DISK_FULL

RESUMES = "the next run resumes there"


@contextmanager
def exclusive_run(folder: Path, work: Path, command: str) -> Iterator[None]:
    """Lock other runs of a command out of a folder, and remove the large files in `work` before and
    after the run, also on SIGTERM.

    Raises InputError if another run is at work or the disk is full.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with locked(folder, f"another `{command}` is running"):
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            shutil.rmtree(work, ignore_errors=True)
            with full_disk_refused(folder, lambda: f"its files removed; {RESUMES}"):
                yield
        finally:
            shutil.rmtree(work, ignore_errors=True)
            signal.signal(signal.SIGTERM, before)


def run_jobs(
    measure: Callable[[Chunk], None], jobs: Sequence[Chunk], processes: int, folder: Path
) -> None:
    """Call `measure` on each job, in parallel processes.

    Raises InputError as `job_failures_refused` does.
    """
    with (
        job_failures_refused(folder),
        closing(in_processes(measure, jobs, processes)) as results,
    ):
        for _ in results:
            pass


@contextmanager
def job_failures_refused(folder: Path) -> Iterator[None]:
    """Raise InputError where a process that measured died, or a file of the run, in `folder`, is
    gone."""
    try:
        yield
    except ChildProcessError as error:
        raise InputError(f"a process that measured has died: {error}; {RESUMES}") from None
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        what = f"{error.filename or folder}: {error.strerror or error}"
        raise InputError(f"{what}; {RESUMES}") from None


def check_writable(folder: Path) -> None:
    """Create a folder where it is missing; raise InputError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None


def parse_jobs(text: str) -> int:
    """Return how many processes a user wants, one per core by default. Raises InputError."""
    if not text:
        return cores()
    if not text.isdecimal() or not int(text):
        raise InputError(f"JOBS: found {text!r}; expected an integer of at least 1")
    return int(text)
