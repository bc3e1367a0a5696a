"""Try all of torchvision's models in OpenCV: `make coverage`. Which survive, with which exporter,
engine and version of OpenCV?

What was measured before is not measured again, and a run that is stopped goes on where it was. The
answer is COVERAGE.md. This is no stage of the pipeline: it takes hours, and DVC would begin anew
with each stop.
"""

import argparse
from functools import partial
from itertools import product

from stages.common.cli import InputError, log, run
from stages.common.coverage import EXPORTERS, Cell, is_done, parse_exporters, parse_names
from stages.common.machine import cores
from stages.common.opencv_versions import engines_of, installed_version, provide
from stages.common.params import Params, load_params
from stages.common.workers import in_processes
from stages.coverage_model import Job, run_model
from stages.coverage_report import report
from stages.stability import ways

# It tries the new engine, then the classic one: no engine of its own.
NO_ENGINE = "auto"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.coverage", description=__doc__)
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
    versions = args.opencv.replace(",", " ").split() or [installed_version()]
    folders = {version: provide(version) for version in versions}
    engines = {
        version: parse_engines(args.engines, version, engines_of(version, folder))
        for version, folder in folders.items()
    }
    models = choose_models(args.models, params)
    _, fresh = ways(params.stability.perturb)
    plan = []
    for model, task in models.items():
        cells = [
            Cell(model, task, exporter, opset, engine, version)
            for (exporter, opset), version in product(exporters, versions)
            for engine in engines[version]
        ]
        missing = [cell for cell in cells if not is_done(cell, params)]
        if missing:
            plan.append(partial(Job, missing, folders, fresh, params))
    todo = [job(f"{number}/{len(plan)}") for number, job in enumerate(plan, start=1)]
    cells = sum(len(job.cells) for job in todo)
    log(f"{len(models)} models: {cells} cells of {len(todo)} models to measure, {jobs} at a time")
    for _ in in_processes(run_model, todo, jobs):
        pass
    report(params)


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


def choose_models(text: str, params: Params) -> dict[str, str]:
    """Names with tasks; raises InputError for a name that torchvision has not, or that is larger
    than `coverage.max_parameters`."""
    from stages.common.zoo import listed, parameters

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
