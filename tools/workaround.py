"""Find out what makes OpenCV reproduce a model's own outputs where it does not: another engine, a
rewritten ONNX file, the other exporter."""

import argparse
import sys
from pathlib import Path

from parity.core.cli import InputError
from parity.core.params import load_params, of_model
from parity.core.user_code import run
from parity.core.written import refuse_foreign
from parity.faults.candidates import REWRITES, write_rewritten
from parity.faults.exported_file import exported_file
from parity.faults.workaround import (
    IMAGES,
    common_shape,
    conclusion,
    first_blobs,
    table,
    try_model,
)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.workaround", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    parser.add_argument("--write", choices=REWRITES, help="only write the model's file, rewritten")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to; with --write")
    arguments = parser.parse_args(argv)
    name = arguments.model
    params = of_model(load_params(), name)
    model = params.models[name]
    if bool(arguments.write) != bool(arguments.output):
        raise InputError("expected both of --write and --output, or neither")
    if arguments.output:
        refuse_foreign(arguments.output)
    with exported_file(name) as path:
        blobs = first_blobs(name, model, params)
        if not blobs:
            found = f"none of the first {IMAGES} images has the size of its input"
            raise InputError(f"{path}: {found}")
        if arguments.write:
            write_rewritten(arguments.write, path, common_shape(blobs), arguments.output)
            return
        outcomes = try_model(name, model, params, blobs)
    print(table(outcomes), *conclusion(name, outcomes), sep="\n")
    if not any(outcome.passes for outcome in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
