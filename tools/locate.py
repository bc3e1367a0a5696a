"""Find the first node whose output is wrong, and its owner: `make locate MODEL=...`.

For a model of params.yaml, the owner is `export` where the ONNX file diverges from the PyTorch
network, else `engine` where OpenCV diverges from ONNX Runtime. For two files, it is `export` where
the candidate diverges from the reference in ONNX Runtime, else `engine` where OpenCV diverges from
ONNX Runtime on the candidate. Exit code 1 where something differs. The last line on stdout is JSON.
"""

import argparse
import json
import sys
from contextlib import suppress
from math import inf
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import write_json
from parity.core.params import load_params, of_model
from parity.core.paths import depth_path, locate_path
from parity.core.user_code import run
from parity.core.written import refuse_foreign
from parity.faults.exported_file import exported_file
from parity.faults.fault import fault_json, fault_lines
from parity.faults.locate import Located, locate_between_files, locate_in_model

ENGINES = ("auto", "classic", "new")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.locate", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="an entry of `models` in params.yaml")
    parser.add_argument("--image", type=int, help="its number in the val split, from 0")
    parser.add_argument("--reference", type=Path, help="an ONNX file, in place of a model")
    parser.add_argument("--candidate", type=Path, help="the ONNX file to compare with it")
    parser.add_argument("--input", type=Path, help="the blob, an .npy file of float32")
    parser.add_argument("--engine", choices=ENGINES, help="default: params.yaml's, or auto")
    parser.add_argument(
        "--limit", type=float, help="relative error; default: 20 times ONNX Runtime's own"
    )
    args = parser.parse_args(argv)
    files = (args.reference, args.candidate, args.input)
    if bool(args.model) == any(files) or any(files) != all(files):
        raise InputError("expected a MODEL, or all of --reference, --candidate and --input")
    if args.limit is not None and not 0 < args.limit < inf:
        raise InputError(f"--limit: found {args.limit:g}; expected a number above 0")
    options = {"engine": args.engine, "limit": args.limit}
    if args.model:
        name = args.model
        params = of_model(load_params(), name)
        with exported_file(name) as path:
            located = locate_in_model(name, params, path, say, args.image, **options)
    else:
        if args.image is not None:
            raise InputError("--image: has no meaning with two files")
        located, name = locate_between_files(*files, say, **options), args.candidate.stem
    report(located, locate_path(name), depth_path(name))
    if located.fault:
        sys.exit(1)


def say(line: str) -> None:
    print(line, flush=True)


def report(located: Located, picture: Path, data: Path) -> None:
    """Print what was found, draw it, and write it for the report of the run."""
    fault = located.fault
    found = fault_json(fault, located.module)
    if fault is None:
        with suppress(InputError, OSError):  # that of an earlier fault
            refuse_foreign(data)
            data.unlink()
        print("nothing differs beyond the limit")
    else:
        shapes = {name: value.shape for name, value in located.values.items()}
        print("\n".join(fault_lines(fault, located.model, shapes)))
    if fault and fault.errors:
        try:
            refuse_foreign(picture)
            refuse_foreign(data)
            located.draw(picture)
            log(f"{picture}: written")
            write_json(data, {"fault": json.loads(found), "points": located.depth()})
        except (
            InputError,
            OSError,
            ValueError,
        ) as error:  # the finding matters more than its picture
            log(f"{picture}: not drawn: {error}")
    print(found)


if __name__ == "__main__":
    run(main)
