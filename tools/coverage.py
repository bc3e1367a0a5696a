"""Try all of torchvision's models in OpenCV: `make coverage`. Which survive, with which exporter,
engine and version of OpenCV?

What was measured before is not measured again, and a run that is stopped goes on where it was. The
answer is COVERAGE.md. This is no stage of the pipeline: it takes hours, and DVC would begin anew
with each stop.
"""

import argparse
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile

from parity.core.cli import InputError, log, run
from parity.core.files import DISK_FULL, full_disk_refused, locked
from parity.core.machine import cores
from parity.core.params import Params, Task, load_params
from parity.core.processes import in_processes
from parity.coverage.cells import CELLS, EXPORTERS, Cell, is_done, parse_exporters, parse_names
from parity.coverage.measure import WORK, Job, run_model
from parity.coverage.opencv_versions import FOLDER, engines_of, parse_versions, provide
from parity.coverage.report import ANSWER, PICTURE, RECORD, check_record, report
from parity.evaluation.stability import rerun_environments

# It tries the new engine, then the classic one: no engine of its own.
NO_ENGINE = "auto"
GOES_ON = "the next run goes on where this one was"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.coverage", description=__doc__)
    parser.add_argument("--models", default="", help="default: all that torchvision lists")
    exporters = f"with another opset as dynamo:20; default: {', '.join(EXPORTERS)}"
    parser.add_argument("--exporters", default="", help=exporters)
    parser.add_argument("--engines", default="", help="default: all that the OpenCV has")
    parser.add_argument("--opencv", default="", help="versions; default: the one installed")
    parser.add_argument("--jobs", default="", help="models at a time; default: one a core")
    args = parser.parse_args(argv)

    params = load_params()
    jobs = parse_jobs(args.jobs)
    exporters = parse_exporters(args.exporters, params)
    versions = parse_versions(args.opencv)
    models = choose_models(args.models, params)
    for folder in (CELLS, RECORD.parent, PICTURE.parent, ANSWER.parent):
        check_writable(folder)
    with alone():
        folders = {version: provide(version) for version in versions}
        engines = {
            version: parse_engines(args.engines, version, engines_of(version, folder))
            for version, folder in folders.items()
        }
        todo = plan(models, list(product(exporters, versions)), engines, folders, params)
        cells = sum(len(job.cells) for job in todo)
        check_record(params, {(cell.model, cell.column) for job in todo for cell in job.cells})
        found = f"{len(models)} models: {cells} cells of {len(todo)} models to measure"
        log(f"{found}, {jobs} at a time")
        run_all(todo, jobs)
        report(params)


def plan(
    models: Mapping[str, Task],
    ways_to_try: Sequence[tuple[tuple[str, int], str]],
    engines: Mapping[str, list[str]],
    folders: Mapping[str, Path | None],
    params: Params,
) -> list[Job]:
    """The models of which cells are missing; `ways_to_try`: exporter with opset, and OpenCV."""
    _, fresh = rerun_environments(params.stability.perturb)
    jobs = []
    for model, task in models.items():
        cells = [
            Cell(model, task, exporter, opset, engine, version)
            for (exporter, opset), version in ways_to_try
            for engine in engines[version]
        ]
        missing = [cell for cell in cells if not is_done(cell, params)]
        if missing:
            jobs.append(partial(Job, missing, folders, fresh, params))
    return [job(f"{number}/{len(jobs)}") for number, job in enumerate(jobs, start=1)]


def run_all(todo: Sequence[Job], jobs: int) -> None:
    """Raises InputError where a process of the run has ended, or a file of its own is gone."""
    try:
        with closing(in_processes(run_model, todo, jobs)) as answers:
            for _ in answers:
                pass
    except ChildProcessError as error:
        raise InputError(f"a process that measured has ended: {error}; {GOES_ON}") from None
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        what = f"{error.filename or FOLDER}: {error.strerror or error}"
        raise InputError(f"{what}; {GOES_ON}") from None


@contextmanager
def alone() -> Iterator[None]:
    """Be the only run of this project, with an empty folder of work, which goes at the end, also
    where a SIGTERM ends the run. Raises InputError where another one runs, or the disk is full."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with locked(FOLDER, "another `make coverage` is running"):
        before = signal.signal(signal.SIGTERM, end)
        try:
            shutil.rmtree(WORK, ignore_errors=True)
            with full_disk_refused(FOLDER, lambda: f"its files removed; {GOES_ON}"):
                yield
        finally:
            shutil.rmtree(WORK, ignore_errors=True)
            signal.signal(signal.SIGTERM, before)


def check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None


def parse_jobs(text: str) -> int:
    if not text:
        return cores()
    if not text.isdecimal() or not int(text):
        raise InputError(f"JOBS: found {text!r}; expected an integer of at least 1")
    return int(text)


def parse_engines(text: str, version: str, known: list[str]) -> list[str]:
    """The engines of a list that a version has; raises InputError for one that it has not."""
    if not text.strip():
        return [name for name in known if name != NO_ENGINE]
    return parse_names(text, f"ENGINES, OpenCV {version}", known)


def choose_models(text: str, params: Params) -> dict[str, Task]:
    """Names with tasks; raises InputError for a name that torchvision has not, or that is larger
    than `coverage.max_parameters`."""
    from parity.coverage.zoo import listed, parameters

    most = params.coverage.max_parameters
    models = listed(float("inf"))
    small = [name for name in models if parameters(name) <= most]
    if not text.strip():
        return {name: models[name] for name in small}
    names = parse_names(text, "MODELS", list(models))
    for name in names:
        if name not in small:
            found = f"{name} has {parameters(name):.0f} million parameters"
            raise InputError(f"MODELS: {found}; coverage.max_parameters is {most:g}")
    return {name: models[name] for name in names}


if __name__ == "__main__":
    run(main)
