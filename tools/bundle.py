"""Pack a model for the device, with what proves it there: `make bundle MODEL=resnet50`.

MODEL is an entry of `models`, after `make`, or any ONNX file with images in INPUT. Writes
models/MODEL/bundle and bundle.zip, or FILE-bundle and FILE-bundle.zip beside the file. Exit code 1
for a model that does not pass, unless FORCE=1.
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

from parity.bundle.content import Content, Unproven, check_count
from parity.bundle.of_file import Given, content_of_file
from parity.bundle.of_model import content_of_model
from parity.bundle.write import write_bundle
from parity.core.cli import InputError, log
from parity.core.params import Params, Task, entry, load_params
from parity.core.paths import bundle_path, results_path
from parity.core.staleness import check_current
from parity.core.user_code import run

IMAGES = 4


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.bundle", description=__doc__.split("\n\n")[0])
    parser.add_argument("name", nargs="?", default="", help="the same as --model")
    model = "an entry of `models` in params.yaml, by default the first, or an ONNX file"
    parser.add_argument("--model", default="", help=model)
    count = f"how many images, 1 to 20; default: {IMAGES}"
    parser.add_argument("--images", type=int, default=IMAGES, help=count)
    parser.add_argument("--force", action="store_true", help="also a model that does not pass")
    add = parser.add_argument_group("an ONNX file").add_argument
    add("--input", nargs="+", default=[], help="image files and folders of them")
    add("--task", choices=get_args(Task), default="", help="default: the file's metadata")
    add("--classes", default="", help="a file with a class name a line; default: the metadata")
    flags = "flags of run_onnx.py in one argument; default: the metadata"
    add("--preprocess", default="", metavar="FLAGS", help=flags)
    args = parser.parse_args(argv)
    check_count(args.images)

    params = load_params()
    name = args.model or args.name or next(iter(params.models))
    try:
        folder, content = contents(name, params, args)
        written = write_bundle(folder, content, args.force)
    except Unproven as reason:
        log(f"{name}: not bundled: {reason} (FORCE=1, or --force, bundles it and says so)")
        sys.exit(1)
    if written.forced:
        log(f"{name}: bundled although it does not pass: {written.verdict}")
    print(f"bundle: {folder}\nbundle: {folder}.zip")


def contents(name: str, params: Params, args: argparse.Namespace) -> tuple[Path, Content]:
    """Return the folder of the bundle and what it holds."""
    given = Given(args.task, args.classes, args.preprocess)
    inputs = [Path(one) for one in args.input if one]  # an empty one is `make` without INPUT
    if name not in params.models and name.endswith(".onnx"):
        path = Path(name)
        content = content_of_file(path, params, inputs, args.images, given)
        return path.with_name(f"{path.stem}-bundle"), content
    entry(params, "models", name)
    if inputs or given != Given("", "", ""):
        raise InputError(
            f"--input, --task, --classes, --preprocess: {name} is an entry of `models`"
        )
    check_current(results_path(name))
    return bundle_path(name), content_of_model(name, params, args.images, args.force)


if __name__ == "__main__":
    run(main)
