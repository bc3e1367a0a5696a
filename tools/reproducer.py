"""Write the smallest ONNX graph that OpenCV still does wrong, with all that a bug report needs:
`make reproducer MODEL=...`.

Exit code 0 where it was written, or nothing is wrong in OpenCV; 1 where the exporter is the one who
is wrong, or the fault cannot be shown again.
"""

import argparse
import sys
from dataclasses import replace
from math import inf
from pathlib import Path

from parity.backends.contract import BackendFailure
from parity.backends.opencv import default_engine, engines
from parity.core.cli import InputError, run
from parity.core.params import (
    BackendParams,
    OpenCVParams,
    Params,
    entry,
    load_params,
)
from parity.core.paths import reproducer_folder
from parity.evaluation.verdict import Limits, gate_limits
from parity.faults.exported import made
from parity.faults.inputs import feeds_of, read_blob, real_blob
from parity.faults.reproducer import Case, against_pytorch, symptom_of_file, write_and_tell
from parity.faults.workaround import Outcome, conclusion, first_blobs, table, try_file, try_model
from parity.graphs.graph import load_model

LIMITS = Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1)  # of a file; a model has the gate's

OPENCV = OpenCVParams(
    engine=default_engine(), backend="default", target="cpu", threads=0, time_limit=120
)

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
    if not args.name:
        sys.exit(of_file(args))
    params = load_params()
    entry(params, "models", args.name)
    with made(args.name) as path:
        code = of_entry(args, params, path)
    sys.exit(code)


def of_entry(args: argparse.Namespace, params: Params, path: Path) -> int:
    """Of a model of params.yaml. Returns the exit code."""
    name = args.name
    model = entry(params, "models", name)
    blob, source = real_blob(name, model, args.image)
    opencv = params.opencv.model_copy(update=setting(args))
    feeds = feeds_of(path, load_model(path), blob, source)
    limit = args.limit or gate_limits(params, name).rel
    folder = args.output or reproducer_folder(name)
    case = Case(name, path, feeds, source, opencv, limit, args.minutes, folder)

    def outcomes() -> list[Outcome]:
        changed = params.model_copy(update={"opencv": opencv})
        return try_model(name, model, changed, first_blobs(name, model, params) or [blob])

    try:
        found = symptom_of_file(case)
        foreign = None if found else against_pytorch(case, model, params, blob)
    except BackendFailure as failure:
        if model.onnx:
            raise
        found, foreign = None, f"ONNX Runtime cannot run it either: {failure}"
    if found:
        return write_and_tell(case, *found, outcomes())
    if foreign:
        print(f"{name}: the exporter's fault, not OpenCV's: {foreign}; see `make locate`")
        tried = outcomes()
        print(table(tried), *conclusion(name, tried), sep="\n")
        return 1
    print(f"{name}: nothing is wrong in OpenCV, engine {opencv.engine}, at {source}")
    return 0


def of_file(args: argparse.Namespace) -> int:
    """Of an ONNX file and a blob. Returns the exit code."""
    if args.image is not None:
        raise InputError("--image: means nothing with a file")
    if not args.output:
        raise InputError("--output: missing; the folder to write to")
    blob = read_blob(args.input)
    feeds = feeds_of(args.file, load_model(args.file), blob, str(args.input))
    opencv = OPENCV.model_copy(update=setting(args))
    limits = replace(LIMITS, rel=args.limit or LIMITS.rel)
    name = args.file.stem
    case = Case(
        name, args.file, feeds, args.input.name, opencv, limits.rel, args.minutes, args.output
    )
    found = symptom_of_file(case)
    if not found:
        print(f"{name}: nothing is wrong in OpenCV, engine {opencv.engine}, at {case.source}")
        return 0
    outcomes = try_file(args.file, blob, opencv, limits, BackendParams(threads=0))
    return write_and_tell(case, *found, outcomes)


def setting(args: argparse.Namespace) -> dict[str, str]:
    """OpenCV on the CPU, whatever the target: what a reader of the report has as well."""
    return {"backend": "default", "target": "cpu"} | (
        {"engine": args.engine} if args.engine else {}
    )


if __name__ == "__main__":
    run(main)
