"""Write the smallest ONNX graph that OpenCV still gets wrong, with everything that a bug report
needs: `make reproducer MODEL=...`.

Exit code 0 where it was written, or OpenCV is right; 1 where the exporter is at fault, or the small
graph does not show the fault.
"""

import argparse
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.opencv import engines
from parity.core.cli import InputError, log
from parity.core.params import BackendParams, Params, load_params, of_model
from parity.core.paths import reproducer_folder
from parity.core.user_code import run
from parity.evaluation.verdict import gate_limits
from parity.faults.exported_file import exported_file
from parity.faults.inputs import feeds_of, read_blob, real_blob
from parity.faults.reproducer import (
    Suspect,
    check_target,
    export_difference,
    find_symptom,
    write_reproducer,
)
from parity.faults.settings import (
    FILE_LIMITS,
    FILE_OPENCV,
    FILE_PERTURB,
    engine_settings,
    on_cpu,
)
from parity.faults.symptom import Symptom
from parity.faults.workaround import Outcome, conclusion, first_blobs, table, try_file, try_model
from parity.graphs.extraction import keep_output
from parity.graphs.graph import load_model, output_names, save
from parity.mending.file import mend_file
from parity.mending.steps import steps_text

MINUTES = 10.0


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.reproducer", description=__doc__.split("\n\n")[0])
    parser.add_argument("name", nargs="?", metavar="model", help="an entry of `models`")
    parser.add_argument("--model", type=Path, dest="file", help="an ONNX file in place of it")
    parser.add_argument("--input", type=Path, help="with --model: the blob, an .npy of float32")
    parser.add_argument("--output", type=Path, help="the folder; default: reproducers/<model>")
    parser.add_argument("--image", type=int, help="its number in the val split, from 0")
    parser.add_argument("--engine", choices=engines(), help="default: params.yaml's, or auto")
    parser.add_argument("--limit", type=float, help="relative error; default: the gate's, or 1e-4")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="to reduce the graph in")
    args = parser.parse_args(argv)
    if bool(args.name) == bool(args.file) or bool(args.file) != bool(args.input):
        raise InputError("expected a MODEL, or both of --model and --input")
    for option in ("limit", "minutes"):
        value = getattr(args, option)
        if value is not None and not 0 < value < inf:
            raise InputError(f"--{option}: found {value:g}; expected a number above 0")
    if folder := args.output or (args.name and reproducer_folder(args.name)):
        check_target(folder)
    if args.name:
        params = of_model(load_params(), args.name)
        with exported_file(args.name) as path:
            code = reproduce_model(args, params, path)
    else:
        code = reproduce_file(args)
    if code:
        sys.exit(code)


def reproduce_model(args: argparse.Namespace, params: Params, path: Path) -> int:
    """Reproduce the fault of a model of params.yaml; returns the exit code."""
    name, model = args.name, params.models[args.name]
    blob, source = real_blob(name, model, args.image)
    opencv = on_cpu(params.opencv, args.engine)
    suspect = Suspect(
        name=name,
        path=path,
        feeds=feeds_of(path, load_model(path), blob, source),
        source=source,
        opencv=opencv,
        perturb=params.stability.perturb,
        limit=args.limit or gate_limits(params, name).rel,
        minutes=args.minutes,
        folder=args.output or reproducer_folder(name),
    )

    def outcomes() -> list[Outcome]:
        changed = params.model_copy(update={"opencv": opencv})
        return try_model(name, model, changed, first_blobs(name, model, params) or [blob])

    try:
        found = find_symptom(suspect)
        export_fault = None if found else export_difference(suspect, model, params, blob)
    except BackendFailure as failure:
        if model.onnx:
            raise
        found, export_fault = None, f"ONNX Runtime cannot run it either: {failure}"
    if found:
        return write(suspect, *found, outcomes())
    if export_fault:
        print(f"{name}: the exporter's fault, not OpenCV's: {export_fault}; see `make locate`")
        tried = outcomes()
        print(table(tried), *conclusion(name, tried), sep="\n")
        return 1
    return say_right(suspect)


def reproduce_file(args: argparse.Namespace) -> int:
    """Reproduce the fault of an ONNX file with a blob; returns the exit code."""
    if args.image is not None:
        raise InputError("--image: has no meaning with a file")
    if not args.output:
        raise InputError("--output: missing; the folder to write to")
    blob, model = read_blob(args.input), load_model(args.file)
    feeds = feeds_of(args.file, model, blob, str(args.input))
    names = output_names(model)
    if len(names) == 1:
        return reproduce_output(args, args.file, feeds)
    log(f"{args.file}: {len(names)} outputs ({', '.join(names)}); {names[0]} is compared")
    keep_output(model, names[0])
    with TemporaryDirectory() as folder:
        path = Path(folder) / args.file.name
        save(model, path)
        return reproduce_output(args, path, feeds)


def reproduce_output(args: argparse.Namespace, path: Path, feeds: dict[str, np.ndarray]) -> int:
    """Reproduce the fault of the file `path`, which has one output; returns the exit code."""
    limits = replace(FILE_LIMITS, rel=args.limit or FILE_LIMITS.rel)
    suspect = Suspect(
        name=args.file.stem,
        path=path,
        feeds=feeds,
        source=args.input.name,
        opencv=on_cpu(FILE_OPENCV, args.engine),
        perturb=FILE_PERTURB,
        limit=limits.rel,
        minutes=args.minutes,
        folder=args.output,
    )
    found = find_symptom(suspect)
    if not found:
        return say_right(suspect)
    (blob,) = feeds.values()
    outcomes = try_file(path, blob, suspect.opencv, limits, BackendParams(threads=0))
    return write(suspect, *found, outcomes)


def say_right(suspect: Suspect) -> int:
    engine = suspect.opencv.engine
    print(f"{suspect.name}: nothing is wrong in OpenCV, engine {engine}, at {suspect.source}")
    return 0


def write(suspect: Suspect, symptom: Symptom, engine: str, outcomes: list[Outcome]) -> int:
    """Write the reproducer and print what it holds; returns the exit code."""
    mended = how_mended(suspect, engine)
    reproducer = write_reproducer(suspect, symptom, engine, outcomes, mended)
    if reproducer is None:
        missing = "the reduced graph does not reproduce it when run by itself"
        print(f"{suspect.name}: {symptom.text}; {missing}")
        return 1
    evidence, folder = reproducer.evidence, suspect.folder
    nodes = evidence.model.graph.node
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {len(nodes)} nodes, {size / 1e3:.1f} kB")
    if not reproducer.is_new:
        print(f"{folder}: left unchanged: it already holds this finding")
    for node in nodes:
        inputs, outputs = ", ".join(filter(None, node.input)), ", ".join(node.output)
        print(f"  {node.op_type}: {inputs} -> {outputs}")
    print(f"  {evidence.symptom.text}", "", table(outcomes), sep="\n")
    print(*conclusion(suspect.name, outcomes), sep="\n")
    print(mended)
    return 0


def how_mended(suspect: Suspect, engine: str) -> str:
    """Say in a line which rules of mending steer round the fault in the whole file."""
    log(f"{suspect.name}: trying to mend the whole file")
    opencv = on_cpu(suspect.opencv, engine)
    settings = engine_settings(opencv, suspect.perturb)
    (blob,) = suspect.feeds.values()
    mended = mend_file(suspect.path, [blob], settings, suspect.limit, lambda line: None)
    if not mended.passes:
        return "No rule of `make mend` steers round it."
    rules = [step.rule for step in mended.steps]
    why = "; ".join(dict.fromkeys(f"`{rule.name}`: {rule.steers_round}" for rule in rules))
    return f"`make mend` steers round it with {steps_text(mended.steps)} ({why})."


if __name__ == "__main__":
    run(main)
