"""Mend an ONNX file that OpenCV gets wrong: `make mend MODEL=...`.

The same function is written with operators that OpenCV computes right, and proved to be the same.
The original stays. Exit code 1 where no rule helps, or a proof does not hold. Where no rule helps,
a reproducer is written if a small graph shows the fault. The last line on stdout is JSON.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from parity.backends.external_data import check_external_data
from parity.backends.opencv import engines
from parity.core.cli import InputError, log
from parity.core.files import new_file
from parity.core.params import Params, load_params, of_model
from parity.core.paths import reproducer_folder
from parity.core.user_code import run
from parity.core.written import refuse_foreign
from parity.evaluation.verdict import gate_limits
from parity.faults.exported_file import exported_file
from parity.faults.inputs import drawn_blob, feeds_of, read_blob
from parity.faults.reproducer import Suspect, check_target, find_symptom, write_reproducer
from parity.faults.settings import (
    FILE_LIMITS,
    FILE_OPENCV,
    FILE_PERTURB,
    EngineSettings,
    engine_settings,
    on_cpu,
)
from parity.graphs.graph import load_model, save
from parity.mending.blobs import image_blobs
from parity.mending.file import Mended, mend_file, rules_named, verify_file
from parity.mending.proof import Check
from parity.mending.steps import steps_text

MINUTES = 2.0  # to reduce what no rule mends


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.mend", description=__doc__.split("\n\n")[0])
    parser.add_argument("name", nargs="?", metavar="model", help="an entry of `models`")
    parser.add_argument("--model", type=Path, dest="file", help="an ONNX file in place of it")
    parser.add_argument("--input", type=Path, help="with --model: the blob, an .npy of float32")
    parser.add_argument("--output", type=Path, help="default for a MODEL: data/mended/<model>.onnx")
    parser.add_argument("--engine", choices=engines(), help="default: params.yaml's, or auto")
    parser.add_argument("--rules", help="apply these, separated by commas, in place of a search")
    parser.add_argument("--verify", type=Path, help="repeat the proof of this mended file")
    args = parser.parse_args(argv)
    if bool(args.name) == bool(args.file):
        raise InputError("expected a MODEL, or --model and a file")
    if args.file and not args.output and not args.verify:
        raise InputError("--output: missing; the file to write")
    if args.verify and (args.output or args.rules):
        raise InputError("--verify: writes nothing; leave out --output and --rules")
    if args.input and args.name:
        raise InputError("--input: has no meaning with a MODEL, whose images are used")
    if args.name:
        params = of_model(load_params(), args.name)
        with exported_file(args.name) as path:
            code = mend_model(args, params, path)
    else:
        check_external_data(args.file)
        code = mend_alone(args)
    if code:
        sys.exit(code)


def mend_model(args: argparse.Namespace, params: Params, path: Path) -> int:
    """Mend the file of a model of params.yaml; returns the exit code."""
    name, model = args.name, params.models[args.name]
    opencv, perturb = on_cpu(params.opencv, args.engine), params.stability.perturb
    blobs = image_blobs(name, model, params)
    suspect = Suspect(
        name=name,
        path=path,
        feeds={},
        source="the first images",
        opencv=opencv,
        perturb=perturb,
        limit=gate_limits(params, name).rel,
        minutes=MINUTES,
        folder=reproducer_folder(name),
    )
    output = args.output or Path("data/mended") / f"{name}.onnx"
    return mend_and_report(args, blobs, engine_settings(opencv, perturb), suspect, output)


def mend_alone(args: argparse.Namespace) -> int:
    """Mend an ONNX file; returns the exit code."""
    model = load_model(args.file)
    if args.input:
        blob, source = read_blob(args.input), str(args.input)
    else:
        blob, source = drawn_blob(args.file, model), "a random blob"
        log(f"{args.file}: tried on random numbers, shape {blob.shape}; --input takes a real blob")
    feeds_of(args.file, model, blob, source)
    if blob.ndim != 4:
        raise InputError(f"{source}: found shape {blob.shape}; expected (N, 3, H, W)")
    opencv = on_cpu(FILE_OPENCV, args.engine)
    output = args.output or args.verify
    suspect = Suspect(
        name=args.file.stem,
        path=args.file,
        feeds={},
        source=source,
        opencv=opencv,
        perturb=FILE_PERTURB,
        limit=FILE_LIMITS.rel,
        minutes=MINUTES,
        folder=output.with_name(f"{output.stem}-reproducer"),
    )
    settings = engine_settings(opencv, FILE_PERTURB)
    return mend_and_report(args, [blob], settings, suspect, output)


def mend_and_report(
    args: argparse.Namespace,
    blobs: list[np.ndarray],
    settings: EngineSettings,
    suspect: Suspect,
    output: Path,
) -> int:
    """Mend the suspect's file, or verify a mended one, and print the result."""
    path, fixed = suspect.path, FILE_LIMITS.rel
    if args.verify:
        return print_proof(verify_file(path, args.verify, blobs, settings, fixed), args.verify)
    if output.resolve() == path.resolve():
        raise InputError(f"{output}: the original would be replaced; expected another file")
    refuse_foreign(output)
    rules = rules_named(args.rules.split(","), "--rules") if args.rules else None
    mended = mend_file(path, blobs, settings, fixed, say, rules)
    for check in mended.checks:
        say(check.text)
    content = {"model": str(path), **mended.content()}
    if mended.passes:
        output.parent.mkdir(parents=True, exist_ok=True)
        with new_file(output) as partial:
            save(mended.model, partial)
        what = f"mended: {steps_text(mended.steps)}" if mended.steps else "nothing to mend"
        say(f"{output}: {what}")
        print(json.dumps(content | {"output": str(output), "reproducer": None}))
        return 0
    say(f"{suspect.name}: not mended; tried: {'; '.join(mended.mending.tried) or 'no rule fits'}")
    folder = reproduce(suspect, mended)
    print(json.dumps(content | {"output": None, "reproducer": folder and str(folder)}))
    return 1


def print_proof(checks: list[Check], path: Path) -> int:
    """Print a proof; returns the exit code."""
    for check in checks:
        say(check.text)
    holds = all(check.holds for check in checks)
    print(
        json.dumps(
            {"verified": holds, "mended": str(path), "proof": {c.what: c.holds for c in checks}}
        )
    )
    return 0 if holds else 1


def reproduce(suspect: Suspect, mended: Mended) -> Path | None:
    """Write a reproducer of what is wrong with the original; returns its folder, if it shows."""
    check_target(suspect.folder)
    blob = mended.cases[mended.mending.before.case].blob
    suspect.feeds = feeds_of(suspect.path, load_model(suspect.path), blob, suspect.source)
    found = find_symptom(suspect)
    if found and write_reproducer(suspect, *found, []):
        log(f"{suspect.folder}: a reproducer of what is wrong")
        return suspect.folder
    log("no small graph shows the fault by itself")
    return None


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    run(main)
