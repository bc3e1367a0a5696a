"""Find out what makes OpenCV reproduce a model's own outputs where it does not: another engine, a
rewritten ONNX file, the other exporter.

With --apply, the smallest change that works, of those that settings make, becomes the model's own
setting in params.yaml. Exit code 1 where nothing works, or no such setting.
"""

import argparse
import sys
from pathlib import Path

from parity.core.cli import InputError
from parity.core.params import PARAMS, load_params, of_model
from parity.core.params_file import read_editable, set_keys, write_edited
from parity.core.user_code import run
from parity.core.written import refuse_foreign
from parity.faults.candidates import REWRITES, write_rewritten
from parity.faults.exported_file import exported_file
from parity.faults.workaround import (
    IMAGES,
    common_shape,
    conclusion,
    first_blobs,
    smallest_setting,
    table,
    try_model,
)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.workaround", description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    parser.add_argument("--write", choices=REWRITES, help="only write the model's file, rewritten")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to; with --write")
    parser.add_argument(
        "--apply", action="store_true", help="set what works in params.yaml, for this model"
    )
    arguments = parser.parse_args(argv)
    name = arguments.model
    params = of_model(load_params(), name)
    model = params.models[name]
    if bool(arguments.write) != bool(arguments.output):
        raise InputError("expected both of --write and --output, or neither")
    if arguments.write and arguments.apply:
        raise InputError("expected one of --write and --apply")
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
    works = outcomes[0].passes
    if arguments.apply and works and outcomes[0].change_size:
        works = apply(name, smallest_setting(outcomes))
    if not works:
        sys.exit(1)


def apply(name: str, settings: dict[str, object]) -> bool:
    """Write settings of a model into params.yaml; return whether there are any."""
    if not settings:
        print(f"{name}: nothing written: no setting makes a change that works")
        return False
    own = {f"models.{name}.{key}": value for key, value in settings.items()}
    content = read_editable()
    set_keys(content, own)
    write_edited(content)
    written = ", ".join(f"{key}: {value}" for key, value in own.items())
    print(f"{PARAMS}: written: {written}; `make` runs the model with it")
    return True


if __name__ == "__main__":
    run(main)
