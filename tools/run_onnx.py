"""Run a classification or segmentation model on images or video, with OpenCV and NumPy alone.

This file needs nothing else of the project: copy it next to an ONNX file and run it there. Task,
preprocessing and class names come from the file's metadata; flags override them. Where the package
yaml is installed, params.yaml in the current folder adds its settings. In a bundle, --verify says
whether this machine computes what was proven.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import mmap
import os
import platform
import re
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, NoReturn

# The logs repeat what is raised as an error.
if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))  # MAX_PIXELS

import cv2
import numpy as np

PARAMS = Path("params.yaml")
# The preprocessing without metadata and params.yaml: ImageNet's, in the form of both.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZES = {"classification": {"resize": 256, "crop": 224}, "segmentation": "own"}
INTERPOLATIONS = {
    name: getattr(cv2, f"INTER_{name.upper()}") for name in ("nearest", "linear", "cubic", "area")
}
EXIF = {"ignore": cv2.IMREAD_IGNORE_ORIENTATION, "apply": 0}
IMAGE_FILES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TOP = 5  # classes of an image that are printed
LEGEND_CLASSES = 32  # with more classes, the legend lists only those found
MAX_PIXELS = 2**27  # of an image, as it is and resized
MAX_SIDE = 2**15 - 1  # of a resized image
MAX_IMAGE, MAX_TEXT = 2**30, 2**24  # bytes of a file that is read whole
MAX_THREADS = 1024
FLOAT32_MAX = float(np.finfo(np.float32).max)
MIN_SIDE, MIN_HEIGHT, MIN_TEXT = 320, 96, 22  # pixels of a picture and of a line of text
MAX_WINDOW = 1280, 800  # pixels
UNKNOWN = "not known"  # what OpenCV does not tell
ESCAPE, QUIT = 27, ord("q")
MODIFIERS = range(0xE1, 0xEF)  # Shift, Alt, ...: the last byte of X11's codes
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, GREY, DARK = (255, 255, 255), (150, 150, 150), (32, 32, 32)  # BGR


def main(argv: list[str] | None = None) -> None:
    args = parse_flags(argv)
    if args.verify:
        verify(args)
        return
    params = read_params()
    model = read_model(args.model)
    task = find_task(args, model)
    how = find_preprocessing(args, task, model, params)
    answers = TASKS[task](args.classes, model)
    network = Network(args, find_output(args, model), params)
    say(f"{network.title}: {len(network.layers)} layers")
    if args.verbose:
        say(*network.layers)
    say(f"preprocessing ({how.source}): {how.flags()}")

    with Viewer(args.output, args.input, task if args.show else None) as viewer:
        for count, (name, image, per_second) in enumerate(frames(args.input, how.exif), start=1):
            if args.save and (per_second or Path(args.input).is_dir()):
                refuse(f"--save: found --input {args.input}; expected a single image")
            if args.save:
                check_target(args.save, args.input, "--save")
            blob = blob_of(image, how)
            output, time_ms = network.run(blob)
            if args.save:
                save(args.save, blob=blob, output=output, milliseconds=time_ms)
            if not (np.abs(output) < FLOAT32_MAX).all():  # where OpenCV cuts infinity off
                values = "NaN" if np.isnan(output).any() else "infinity"
                no_answer(f"{name}: no answer: the output of {args.model} holds {values}")
            answer = answers.decide(output)
            if per_second:
                say(f"frame {count}: {answers.summarise(answer)}, {time_ms:.1f} ms")
            else:
                took = f"warm pass {time_ms:.1f} ms"
                say(f"{name}: output {output.shape}, {took}", *answers.table(answer))
            if args.save:
                break
            picture = answers.draw(seen_part(image, how), answer, time_ms, bool(per_second))
            if not viewer.add(f"{model.name}-{name}", picture, per_second):
                break


class Refusal(SystemExit):
    """Wrong input, exit code 2; the message is one line: what was found, what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = " ".join(message.split())


class Unusable(Refusal):
    """This OpenCV cannot read or run a model."""


def run(argv: list[str] | None = None) -> None:
    """Run `main`; where that fails, end with one line on stderr and without a traceback."""
    open_standard_streams()
    try:
        run_main(argv)
    except Refusal as refusal:
        complain(f"error: {refusal.message}")
        sys.exit(2)


def run_main(argv: list[str] | None) -> None:
    """Run `main`; raises Refusal for what OpenCV or the system refuses."""
    try:
        try:
            main(argv)
        finally:
            print(end="", flush=True)
    except cv2.error as error:
        refuse(f"OpenCV: {error}")
    except MemoryError:
        refuse("out of memory; expected a smaller image or model")
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
    except OSError as error:
        if error.filename is None:  # of stdout, which Python would flush once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):  # the reader has left, as `head` does
            sys.exit(141)
        refuse(f"{error.filename or 'stdout'}: {(error.strerror or str(error)).lower()}")


def open_standard_streams() -> None:
    """Let the standard streams take any text, also where the shell has closed them: the next file
    to be opened would get their number, and be written to by any library that prints."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str) -> None:
    """Print lines; a character that would start another line or steer a terminal is escaped."""
    print(*map(printable, lines), sep="\n")


def printable(text: str) -> str:
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def complain(line: str) -> None:
    """Print a line on stderr, where that can be written."""
    try:
        if sys.stderr:  # without it, print would take stdout
            print(printable(line), file=sys.stderr)
    except OSError:
        pass


def refuse(message: str) -> NoReturn:
    raise Refusal(message)


def no_answer(message: str) -> NoReturn:
    """Exit with code 1 and one line on stderr: the input is sound, and the model fails on it."""
    complain(f"error: {message}")
    sys.exit(1)


# The command line


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; flags that are not given are None."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.error = lambda message: refuse(f"{message} (--help explains the flags)")
    add, path = parser.add_argument, {"type": named}
    add("--model", **path, help="the ONNX file")
    media = (
        "an image (of an animation, the first), a folder of images, a video file, or the index of "
        "a camera, such as 0"
    )
    add("--input", type=lambda value: str(named(value)), help=media)
    add("--task", choices=TASKS, help="default: the model's metadata")
    output = "the output to take, of a model that has several; default: the first"
    add("--output-name", metavar="NAME", help=output)
    names = "a text file with one class per line in the order of the ids: `name`, or `name r g b`"
    add("--classes", **path, help=f"{names}; default: the model's metadata")
    folder = (
        "where pictures go, and the MJPG video of a video or camera; they replace only what this "
        "tool wrote; default: %(default)s"
    )
    add("--output", **path, default=Path("plots/demo"), help=folder)
    window = "open a window: any key continues, q or Esc quits; a video is shown, not written"
    add("--show", action="store_true", help=window)
    arrays = "write `blob`, `output` and `milliseconds` of one image for np.load, and no picture"
    add("--save", **path, metavar="FILE.npz", help=arrays)
    add("--verbose", action="store_true", help="print the names of the layers that OpenCV created")

    add = parser.add_argument_group(
        "verification",
        "A bundle holds images with the pixels, blobs and logits that were proven. The exit code\n"
        "is 1 where this machine computes something else.",
    ).add_argument
    add("--verify", action="store_true", help="verify a bundle; takes no --model and no --input")
    here = "the bundle's folder; default: the folder of this script"
    add("--bundle", **path, metavar="FOLDER", help=here)
    add("--report", **path, metavar="FILE.json", help="write the result, to send it home")

    add = parser.add_argument_group(
        "from an image to the blob",
        "The image is resized and cropped; then blob = (image - mean) * scale / std. The defaults\n"
        "are the model's metadata, else params.yaml, else the values below. A number may be a\n"
        "fraction, 1/255.\n"
        "Switches have an opposite: --crop and --no-crop.",
    ).add_argument
    factor, channels = {"type": positive}, {"nargs": 3, "metavar": ("R", "G", "B")}
    add("--scale", **factor, help="factor of the values 0 to 255 minus mean; default: 1/255")
    mean = " ".join(decimal(255 * number(value)) for value in MEAN)
    add("--mean", type=number, **channels, help=f"of the values 0 to 255; default: {mean}")
    std = " ".join(map(str, STD))
    add("--std", **factor, **channels, help=f"of the scaled values, 0 to 1; default: {std}")
    pixels = {"type": int, "metavar": "PIXELS"}
    add("--rsz-height", **pixels, help="resize to this height; 0: do not resize")
    add("--rsz-width", **pixels, help="and to this width; both default to 256, segmentation: 0")
    add("--resize", **pixels, help="both; with --keep-aspect this is the shorter side")
    add("--height", **pixels, help="of the blob; 0: as resized")
    add("--width", **pixels, help="of the blob; both default to 224, segmentation: 0")
    add("--interpolation", choices=INTERPOLATIONS, help="default: linear")
    for name, meaning in (
        ("rgb", "the blob's channels are red, green, blue (default), not blue, green, red"),
        ("keep-aspect", "resize until the image just covers both sides; default: to these sides"),
        ("crop", "cut the blob out of the centre (default), not resize to it (segmentation)"),
        ("antialias", "shrink by averaging areas; default: by the interpolation"),
    ):
        add(f"--{name}", action="store_true", default=None, help=meaning)
        dest = name.replace("-", "_")
        add(f"--no-{name}", dest=dest, action="store_false", help=argparse.SUPPRESS)
    exif = "turn a photo as its EXIF orientation says, or not; default: ignore, as torchvision does"
    add("--exif", choices=EXIF, help=exif)

    add = parser.add_argument_group(
        "OpenCV", "The defaults are params.yaml's, else the values below."
    ).add_argument
    add("--engine", help="cv2.dnn.ENGINE_*: auto, classic, new; default: auto")
    add("--backend", help="cv2.dnn.DNN_BACKEND_*: default, opencv, cuda, ...; default: default")
    add("--target", help="cv2.dnn.DNN_TARGET_*: cpu, opencl, cuda, ...; default: cpu")
    add("--threads", type=int, help="0: as many as OpenCV uses by itself; default: 0")
    args = parser.parse_args(argv)
    check_verification(args)
    if args.resize is not None:
        if (args.rsz_height, args.rsz_width) != (None, None):
            refuse("--resize: found --rsz-height or --rsz-width too; expected one of them")
        args.rsz_height = args.rsz_width = args.resize
    folder = Path(args.input or "")
    if args.input and folder.is_dir() and args.output.is_dir() and folder.samefile(args.output):
        refuse(f"--output: found {args.output}, the folder of --input; expected another")
    if args.save and args.show:
        refuse("--save: found --show too; expected one of them: --save draws no picture")
    if args.threads is not None and not 0 <= args.threads <= MAX_THREADS:
        refuse(f"--threads: found {args.threads}; expected 0 to {MAX_THREADS}")
    return args


def check_verification(args: argparse.Namespace) -> None:
    """Refuse flags of a verification without --verify, and the other way round."""
    verifying, running = ("bundle", "report"), ("model", "input")
    for name in running if args.verify else verifying:
        if getattr(args, name) is not None:
            expected = "expected none" if args.verify else "expected --verify too"
            refuse(f"--{name}: found {getattr(args, name)}; {expected} (--help explains the flags)")
    missing = [f"--{name}" for name in running if getattr(args, name) is None]
    if missing and not args.verify:
        found = f"the following arguments are required: {', '.join(missing)}"
        refuse(f"{found} (--help explains the flags)")


def named(value: str) -> Path:
    """Read a path; raises ValueError for none, which would be the current folder."""
    if not value:
        raise ValueError("the name is empty")
    return Path(value)


def number(value: str | float) -> Fraction:
    """Read a number exactly: 0.485 or 1/255, or the float nearest to it. A flag and the metadata
    thus make the same blob to the bit. Raises ValueError for anything else, and beyond 1e9."""
    text = str(value)
    if len(text) > 100 or re.search(r"e[+-]?\d{4}", text, re.IGNORECASE):  # would take for ever
        raise ValueError(f"{text[:20]}... has too many digits")
    try:
        written = Fraction(text)
    except ZeroDivisionError:
        raise ValueError(f"{value} is not a number") from None
    if abs(written) > 10**9:
        raise ValueError(f"{value} is too large")
    short = written.limit_denominator(1000)
    return short if float(short) == float(written) else written


def positive(value: str | float) -> Fraction:
    """Read a number as `number` does; raises ValueError for one that is not above 1e-9."""
    if number(value) * 10**9 <= 1:
        raise ValueError(f"found {value}; expected a number above 0")
    return number(value)


def decimal(value: Fraction) -> str:
    """Return a number as `number` reads it: decimal where that is exact."""
    text = np.format_float_positional(float(value), trim="-")
    return text if Fraction(text) == value else str(value)


# The ONNX file

FLOAT32, EXTERNAL = 1, 1  # of TensorProto.DataType and of TensorProto.DataLocation
# The fields that may hold tensors, by the message that they belong to.
PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
# Bits of an element by its type, of the numbers.
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64}
BITS.update({16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4})


class Model(NamedTuple):
    """What an ONNX file says: the name for its pictures, the metadata, the height and width of its
    input, None where they are dynamic, and the names of its outputs."""

    name: str
    metadata: dict[str, str]
    fixed: tuple[int, int] | None
    outputs: Sequence[str] = ()


def read_model(path: Path) -> Model:
    """Read an ONNX file's metadata and check what OpenCV does not: that its only input is one
    image, and that its tensors are as large as they claim to be and lie in its folder. The numbers
    of the fields are those of onnx.proto."""
    check_file(path, sys.maxsize)
    try:
        with path.open("rb") as file:
            model = fields(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        if len(model[7]) != 1:
            raise ValueError(f"it has {len(model[7])} graphs")
        graph = fields(model[7][0])
        constants = {string(fields(tensor), 8) for tensor in graph.get(5, [])}
        values = [fields(value) for value in graph.get(11, [])]
        inputs = {string(value, 1): element_and_shape(value) for value in values}
        outputs = [string(fields(value), 1) for value in graph.get(12, [])]
        entries = [fields(entry) for entry in model.get(14, [])]
        metadata = {string(entry, 1): string(entry, 2) for entry in entries}
        if not graph.get(1):
            raise ValueError("it has no nodes")
        for tensor in tensors(model):
            check_tensor(path, tensor)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        refuse(f"{path}: not an ONNX model, or only a part of one: {error}")
    inputs = {name: value for name, value in inputs.items() if name not in constants}
    fits = [
        element == FLOAT32 and len(shape) == 4 and shape[0] in (None, 1) and shape[1] in (None, 3)
        for element, shape in inputs.values()
    ]
    if fits != [True]:
        shapes = [" x ".join(str(side or "?") for side in shape) for _, shape in inputs.values()]
        found = ", ".join(map("{} ({})".format, inputs, shapes))
        expected = "expected one of float32 images (1 x 3 x height x width)"
        refuse(f"{path}: found the inputs {found or 'none'}; {expected}")
    ((_, (_, _, *sides)),) = inputs.values()
    # The pipeline calls every file model.onnx; the metadata names the model.
    known = re.sub(r"[^\w.+-]", "_", metadata.get("model", ""))
    names = [known, path.stem if path.stem not in (known, "model") or not known else ""]
    fixed = tuple(sides) if all(sides) else None
    return Model("-".join(filter(None, names)), metadata, fixed, outputs)


def fields(message: memoryview) -> dict[int, list]:
    """Decode a protobuf message into lists of values by field number: ints, or bytes for floats,
    strings and messages within. See "Encoding" in the documentation of Protocol Buffers.

    Raises IndexError, KeyError or ValueError for bytes that are not a message.
    """
    found: dict[int, list] = {}
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        field, wire_type = divmod(key, 8)
        value, place = varint(message, place) if wire_type in (0, 2) else (0, place)
        if wire_type:
            start, place = place, place + {1: 8, 2: value, 5: 4}[wire_type]
            if place > len(message):
                raise ValueError("the file ends too early")
            value = message[start:place]
        found.setdefault(field, []).append(value)
    return found


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the number at a place of a protobuf message, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number has more than ten bytes")


def numbers(message: dict[int, list], field: int) -> list[int]:
    """Return the ints of a repeated field, packed or not."""
    found: list[int] = []
    for value in message.get(field, []):
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            one, place = varint(value, place)
            found.append(one)
    return found


def string(message: dict[int, list], field: int) -> str:
    """Return the text of a field of a protobuf message, empty where there is none."""
    return message[field][-1].tobytes().decode("utf-8", "replace") if field in message else ""


def element_and_shape(value: dict[int, list]) -> tuple[int, list[int | None]]:
    """Return the element type of an input, as a number of onnx.proto, and its shape, None for a
    dimension that is dynamic."""
    for type_ in value.get(2, []):
        for tensor in map(fields, fields(type_).get(1, [])):
            shape = [fields(side) for part in tensor.get(2, []) for side in fields(part).get(1, [])]
            sides = [side.get(1, [None])[-1] for side in shape]
            # A negative one is dynamic too.
            sides = [None if side is None or side >= 2**63 else side for side in sides]
            return tensor.get(1, [0])[-1], sides
    return 0, []


def tensors(model: dict[int, list]) -> Iterator[dict[int, list]]:
    """Yield every tensor of a model: of graphs and subgraphs, attributes, functions and sparse
    tensors."""
    waiting = [("model", model)]
    while waiting:
        kind, message = waiting.pop()
        if kind == "tensor":
            yield message
        for field, part in PARTS.get(kind, {}).items():
            waiting += [(part, fields(value)) for value in message.get(field, [])]


def check_tensor(path: Path, tensor: dict[int, list]) -> None:
    """Refuse a tensor that OpenCV would read beyond its end, or from a file outside the folder of
    the model."""
    name = f"{path}: tensor {string(tensor, 8)!r}"
    shape, bits = numbers(tensor, 1), BITS.get(tensor.get(2, [0])[-1])
    needed = None if bits is None else (math.prod(shape) * bits + 7) // 8
    entries = [fields(entry) for entry in tensor.get(13, [])]
    if entries or tensor.get(14, [0])[-1] == EXTERNAL:
        pairs = [(string(entry, 1), string(entry, 2)) for entry in entries]
        check_external_data(path, name, pairs, needed)
    elif needed is not None and bits >= 8:
        stored = sum(map(len, tensor.get(9, []))) if 9 in tensor else elements(tensor) * bits // 8
        if stored != needed:
            shown = " x ".join(map(str, shape)) or "one element"
            refuse(f"{name}: found {stored} bytes; expected {needed} for its shape, {shown}")


def elements(tensor: dict[int, list]) -> int:
    """Return how many elements a tensor has in the fields of their types, packed or not."""
    count = 0
    for field, size in {4: 4, 10: 8, 5: 0, 7: 0, 11: 0}.items():  # bytes; 0: those of a varint
        for value in tensor.get(field, []):
            if isinstance(value, int):
                count += 1
            elif size:
                count += len(value) // size
            else:  # the last byte of a varint is below 0x80
                count += int(np.count_nonzero(np.frombuffer(value, np.uint8) < 0x80))
    return count


def check_external_data(
    path: Path, name: str, entries: Sequence[tuple[str, str]], needed: int | None
) -> None:
    """Refuse external data unless it is `needed` bytes of a regular file in the model's folder."""
    values = {"offset": "0", "length": str(needed), **dict(entries)}
    shown = ", ".join(f"{key} {value!r}" for key, value in entries)
    found = f"{name}: external data: found {shown or 'no location'}"
    location, folder = values.get("location", ""), path.parent.resolve()
    try:
        place = (folder / location).resolve()
        is_inside = folder in place.parents and not Path(location).is_absolute()
        if not is_inside or not stat.S_ISREG(place.stat().st_mode):
            raise ValueError("not a regular file there")
        size = place.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links
        reason = getattr(error, "strerror", None) or error
        refuse(f"{found} ({reason}); expected a file in the folder of the model")
    begin, length = (
        values[key] if values[key].isdecimal() else "-1" for key in ("offset", "length")
    )
    is_once = len({key for key, _ in entries}) == len(entries)
    if not is_once or int(begin) < 0 or int(length) != needed or int(begin) + needed > size:
        refuse(f"{found}; expected {needed} of the {size} bytes of that file")


def find_task(args: argparse.Namespace, model: Model) -> str:
    """Return the task that the flag or the metadata name; refuses two different ones."""
    known = model.metadata.get("task", "none")
    task = args.task or known
    if task not in TASKS:
        expected = f"expected --task {' or '.join(TASKS)}"
        refuse(f"{args.model}: found the task {known!r} in its metadata; {expected}")
    if known in TASKS and known != task:
        refuse(f"{args.model}: made for {known}; found --task {task}")
    return task


def read_params() -> dict:
    """Return the content of params.yaml in this folder; empty without the file or package yaml."""
    try:
        import yaml

        content = yaml.safe_load(read_file(PARAMS, MAX_TEXT).decode())
    except (ImportError, FileNotFoundError):
        return {}
    except Exception as error:  # yaml.YAMLError has no name where yaml is missing
        refuse(f"{PARAMS}: cannot be read as YAML: {error}")
    return content if isinstance(content, dict) else {}


def read_json(text: str) -> object:
    """Return the content of an entry of the metadata, None for one of another program's."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def section(content: object, *keys: str) -> dict:
    """Return the mapping below some keys; empty where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


# From an image to the blob


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a blob, as the flags put it: `resize` and `size` are (height, width) in
    pixels, None for 0; `mean` and `std` are for red, green and blue. `source` names the origin."""

    scale: Fraction
    mean: Sequence[Fraction]
    std: Sequence[Fraction]
    rgb: bool
    resize: tuple[int, int] | None
    keep_aspect: bool
    size: tuple[int, int] | None
    crop: bool
    interpolation: str
    antialias: bool
    exif: str
    source: str

    def flags(self) -> str:
        """Return the flags that reproduce the blob to the bit."""
        (rsz_height, rsz_width), (height, width) = self.resize or (0, 0), self.size or (0, 0)
        mean, std = (" ".join(map(decimal, values)) for values in (self.mean, self.std))
        rgb, keep_aspect, crop, antialias = (
            "--" + ("" if getattr(self, name) else "no-") + name.replace("_", "-")
            for name in ("rgb", "keep_aspect", "crop", "antialias")
        )
        return (
            f"--scale {decimal(self.scale)} --mean {mean} --std {std} {rgb} "
            f"--rsz-height {rsz_height} --rsz-width {rsz_width} {keep_aspect} "
            f"--height {height} --width {width} {crop} "
            f"--interpolation {self.interpolation} {antialias} --exif {self.exif}"
        )

    def table(self) -> np.ndarray:
        """Return the blob's value for each byte of blue, green and red: float32 (1, 256, 3),
        computed in float64 and rounded once, as the evaluation does it."""
        mean = [float(value * self.scale) for value in self.mean[::-1]]
        std = [float(value) for value in self.std[::-1]]
        values = np.arange(256)[:, None] / float(1 / self.scale)
        return ((values - np.array(mean)) / np.array(std)).astype(np.float32)[None]


def find_preprocessing(
    args: argparse.Namespace, task: str, model: Model, params: dict
) -> Preprocessing:
    """Combine the flags, the profile and the size of the model's input where it is fixed; refuses
    a combination that makes no sense."""
    profile, source = find_profile(args.model, task, model.metadata, params)
    try:
        how = read_profile(profile, task)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        refuse(f"{source}: not a preprocessing: {type(error).__name__} {error}")
    if model.fixed and model.fixed != how["size"]:
        how.update(resize=None, size=model.fixed)
    how["resize"] = pair("rsz_height", "rsz_width", args, how["resize"])
    how["size"] = pair("height", "width", args, how["size"])
    if model.fixed and how["size"] not in (None, model.fixed):
        found = "found {} and {}; the input of the model has {} and {}"
        refuse(f"--height and --width: {found.format(*how['size'], *model.fixed)}")
    others = {name: getattr(args, name) for name in how if name not in ("resize", "size")}
    given = {name: value for name, value in others.items() if value is not None}
    if given or args.rsz_height is not None or args.height is not None:
        source = f"flags, then {source}"
    how.update(given)

    if args.crop and how["size"] is None:
        refuse("--crop: found no size to crop to; expected --height and --width")
    how["crop"] = how["crop"] and how["size"] is not None
    if how["crop"] and not how["resize"]:
        how.update(resize=how["size"], keep_aspect=True)
    if how["crop"] and np.greater(how["size"], how["resize"]).any():
        found = "found {} x {}; expected at most {} x {}".format(*how["size"], *how["resize"])
        refuse(f"--crop: {found}, what the image is resized to (--resize)")
    return Preprocessing(**how, source=source)


def find_profile(path: Path, task: str, metadata: dict[str, str], params: dict) -> tuple[dict, str]:
    """Return the profile in the metadata, in params.yaml or else ImageNet's, and its origin."""
    profile = read_json(metadata.get("preprocess", ""))
    if isinstance(profile, dict) and {"mean", "std"} <= profile.keys():
        return profile, f"metadata of {path}"
    own = section(params, "models", path.parent.name).get("preprocess")
    for name in sorted(section(params, "preprocess"), key=lambda name: name != own):
        profile = section(params, "preprocess", name)
        if profile.get("task") == task and "from_weights" not in profile:  # torchvision has those
            return profile, f"{PARAMS}: preprocess.{name}"
    return {"mean": MEAN, "std": STD, "size": SIZES[task]}, "ImageNet's constants"


def read_profile(profile: dict, task: str) -> dict:
    """Turn a profile, as params.yaml and the metadata have it, into the fields of Preprocessing.

    Raises KeyError, TypeError, ValueError or OverflowError for a profile that is not valid.
    """
    size = {} if profile["size"] == "own" else dict(profile["size"])
    mean, std = map(number, profile["mean"]), map(positive, profile["std"])
    scale = positive(profile.get("scale", 1 / 255))
    how = {
        "scale": scale,
        "mean": [value / scale for value in mean],
        "std": list(std),
        "rgb": profile.get("color", "RGB") == "RGB",
        "resize": (int(size["resize"]),) * 2 if size else None,
        # Segmentation has no such key: its size is the shorter side's.
        "keep_aspect": bool(size.get("keep_aspect", size and "crop" not in size)),
        "size": (int(size["crop"]),) * 2 if "crop" in size else None,
        "crop": task == "classification",
        "interpolation": str(size.get("interpolation", "linear")),
        "antialias": bool(size.get("antialias")),
        "exif": profile.get("exif", "ignore"),
    }
    if len(how["mean"]) != 3 or len(how["std"]) != 3:
        raise ValueError("expected three numbers as mean and as std")
    if how["interpolation"] not in INTERPOLATIONS:
        raise ValueError(f"interpolation {how['interpolation']!r}")
    if how["exif"] not in EXIF:
        raise ValueError(f"found exif {how['exif']!r}; expected {' or '.join(EXIF)}")
    if not all(0 <= value <= 255 for value in how["mean"]):
        most = decimal(255 * scale)
        raise ValueError(f"found mean {profile['mean']}; expected numbers from 0 to {most}")
    return how


def pair(
    first: str, second: str, args: argparse.Namespace, default: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return (height, width) of two flags, None for zeros; the default where neither is given."""
    height, width = getattr(args, first), getattr(args, second)
    if height is None and width is None:
        height, width = default or (0, 0)
    if (height, width) == (0, 0):
        return None
    if height is None or width is None or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        names = f"--{first} and --{second}".replace("_", "-")
        expected = f"expected two numbers of pixels, 1 to {MAX_SIDE}, or 0 and 0"
        refuse(f"{names}: found {height} and {width}; {expected}")
    return height, width


def blob_of(image: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Turn an image, uint8 (H, W, 3), BGR, into the blob, float32 (1, 3, height, width)."""
    if how.resize:
        image = resized(image, resize_target(image, how), how)
    if how.crop:
        top, left = offsets(image.shape, how.size)
        image = image[top : top + how.size[0], left : left + how.size[1]]
    elif how.size:
        image = resized(image, how.size, how)
    planes = cv2.split(cv2.LUT(image, how.table()))
    return np.stack(planes[::-1] if how.rgb else planes)[None]


def resize_target(image: np.ndarray, how: Preprocessing) -> tuple[int, int]:
    """Return the height and width that `--rsz-height` and `--rsz-width` resize to; a side that
    follows from the aspect ratio is rounded as torchvision's `Resize` does."""
    if not how.keep_aspect:
        return how.resize
    (height, width), (rows, columns) = how.resize, image.shape[:2]
    if height * columns >= width * rows:
        return height, int(height * columns / rows)
    return int(width * rows / columns), width


def offsets(sides: Sequence[int], size: tuple[int, int]) -> tuple[int, int]:
    """Return top and left of a centre crop, rounded as torchvision's `CenterCrop` does."""
    return round((sides[0] - size[0]) / 2), round((sides[1] - size[1]) / 2)


def resized(image: np.ndarray, size: tuple[int, int], how: Preprocessing) -> np.ndarray:
    """Resize; with `--antialias`, by the means of areas where both sides shrink."""
    height, width = size
    if height * width > MAX_PIXELS:
        found = f"an image of {image.shape[1]} x {image.shape[0]} pixels becomes {width} x {height}"
        refuse(f"{how.source}: {found}; expected at most {MAX_PIXELS} in all")
    shrinks = height < image.shape[0] and width < image.shape[1]
    name = "area" if how.antialias and shrinks else how.interpolation
    return cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[name])


def seen_part(image: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Return the part of an image, (H, W, 3), that reaches the blob: all, or --crop's centre."""
    if not how.crop:
        return image
    sides = resize_target(image, how)
    (top, left), (height, width) = offsets(sides, how.size), how.size
    rows, columns = image.shape[0] / sides[0], image.shape[1] / sides[1]  # per resized pixel
    bottom, right = math.ceil((top + height) * rows), math.ceil((left + width) * columns)
    return image[int(top * rows) : bottom, int(left * columns) : right]


# OpenCV


class Settings(NamedTuple):
    """What OpenCV is asked to run a model with; `threads` is 0 for its own choice."""

    engine: str
    backend: str
    target: str
    threads: int

    @property
    def constants(self) -> tuple[int | None, int, int]:
        """OpenCV's constants of engine, backend and target."""
        named = self._asdict()
        return tuple(constant(name, named[name]) for name in ("engine", "backend", "target"))

    def text(self) -> str:
        return f"engine {self.engine}, backend {self.backend}, target {self.target}"


def find_settings(args: argparse.Namespace, params: dict) -> Settings:
    """Combine the flags and params.yaml; refuses what this OpenCV cannot do."""
    chosen = {"engine": "auto", "backend": "default", "target": "cpu"}
    for name, default in chosen.items():
        found = getattr(args, name) or section(params, "opencv").get(name) or default
        chosen[name] = str(found)
    threads = args.threads or section(params, "opencv").get("threads") or 0
    if not isinstance(threads, int) or not 0 <= threads <= MAX_THREADS:
        expected = f"expected 0 to {MAX_THREADS}"
        refuse(f"{PARAMS}: opencv.threads: found {threads!r}; {expected}")
    settings = Settings(**chosen, threads=threads)
    _, backend, target = settings.constants
    if target not in cv2.dnn.getAvailableTargets(backend or cv2.dnn.DNN_BACKEND_OPENCV):
        # OpenCV would fall back to the CPU and only warn.
        lacks = f"OpenCV {cv2.__version__} cannot use it with --backend {settings.backend}"
        refuse(f"--target: found {settings.target!r}; this {lacks}")
    return settings


class Network:
    """A model in OpenCV: the names of its `layers`, and a `title` with version and settings."""

    def __init__(self, args: argparse.Namespace, output: str | None, params: dict) -> None:
        self.path, self.settings = args.model, find_settings(args, params)
        engine, backend, target = self.settings.constants
        if self.settings.threads:
            cv2.setNumThreads(self.settings.threads)
        try:
            options = [] if engine is None else [engine]
            self.net = cv2.dnn.readNetFromONNX(str(self.path), *options)
        except cv2.error as error:
            raise Unusable(
                f"{self.path}: OpenCV cannot read it as an ONNX model: {error}"
            ) from None
        if (backend, target) != (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_TARGET_CPU):
            self.net.setPreferableBackend(backend)
            self.net.setPreferableTarget(target)
        if self.net.empty():  # OpenCV's new engine only logs what it cannot read
            raise Unusable(f"{self.path}: OpenCV cannot read it as an ONNX model")
        self.layers, self.output = list(self.net.getLayerNames()), output
        self.title = f"OpenCV {cv2.__version__} ({self.settings.text()})"
        self.warm: set[tuple[int, ...]] = set()

    def run(self, blob: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the output for a blob, and the milliseconds of the forward pass.

        The first blob of a shape runs twice, as OpenCV allocates memory the first time.
        """
        if blob.shape not in self.warm:
            self.answer(blob)
        began = time.perf_counter()
        output = self.answer(blob)
        return output, 1e3 * (time.perf_counter() - began)

    def answer(self, blob: np.ndarray) -> np.ndarray:
        """Return the output for a blob."""
        try:
            self.net.setInput(blob)
            output = self.forward()
        except cv2.error as error:
            found = f"OpenCV cannot run it on a blob of {blob.shape}: {error}"
            raise Unusable(f"{self.path}: {found}") from None
        if not isinstance(output, np.ndarray):
            raise Unusable(f"{self.path}: OpenCV returns {output!r}; expected an array")
        self.warm.add(blob.shape)
        return output

    def what_ran(self) -> dict[str, str]:
        """Return the engine, backend and target that ran the model, as far as OpenCV tells."""
        if self.settings.engine == "ort":
            engine = "ort"
        elif not hasattr(self.net, "getModelFormat"):  # OpenCV 4
            engine = "classic"
        else:  # the new engine keeps the format of the file, the classic one does not
            is_new = self.net.getModelFormat() == cv2.dnn.DNN_MODEL_ONNX
            engine = "new" if is_new else "classic"
        plain = self.settings.backend in ("default", "opencv") and self.settings.target == "cpu"
        where = ("opencv", "cpu") if engine == "new" or plain else (UNKNOWN, UNKNOWN)
        return {"engine": engine, "backend": where[0], "target": where[1]}

    def forward(self) -> object:
        return self.net.forward() if self.output is None else self.net.forward(self.output)


def find_output(args: argparse.Namespace, model: Model) -> str | None:
    """Return the name of the output that answers, None for the only one; refuses an unknown one."""
    names = list(model.outputs)
    if not names:
        refuse(f"{args.model}: found no output; expected at least one")
    if args.output_name not in (None, *names):
        refuse(f"--output-name: found {args.output_name!r}; {args.model} has {', '.join(names)}")
    if len(names) == 1:
        return None
    name = args.output_name or names[0]
    say(f"output {name} of {', '.join(names)} (--output-name takes another)")
    return name


def constant(flag: str, name: str) -> int | None:
    """Return OpenCV's constant of a name; None for the only engine of OpenCV 4."""
    names = constants(flag)
    if name not in names:
        expected = ", ".join(sorted(names))
        refuse(f"--{flag}: found {name!r}; OpenCV {cv2.__version__} has {expected}")
    return names[name]


def constants(flag: str) -> dict[str, int | None]:
    """Return the names that a flag takes, with OpenCV's constants; OpenCV 4 has a single engine."""
    prefix = {"engine": "ENGINE_", "backend": "DNN_BACKEND_", "target": "DNN_TARGET_"}[flag]
    found = {
        key[len(prefix) :].lower(): getattr(cv2.dnn, key)
        for key in dir(cv2.dnn)
        if key.startswith(prefix)
    }
    return found or {"auto": None, "classic": None}


# Images, videos and cameras


def frames(source: str, exif: str = "ignore") -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield the images that `--input` stands for: name, pixels, uint8 (H, W, 3), BGR, and for a
    video or camera the frames per second, else 0."""
    path = Path(source)
    check_name(path)
    if source.isdecimal() and not path.exists():
        yield from stream(f"camera-{source}", int(source))
        return
    if path.is_dir():
        images = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_FILES)
        if not images:
            refuse(f"{path}: the folder holds no image ({', '.join(sorted(IMAGE_FILES))})")
        names, stems = {image.name for image in images}, [image.stem for image in images]
        for image in images:
            is_short = stems.count(image.stem) == 1 and image.stem not in names
            yield image.stem if is_short else image.name, read_image(image, exif), 0
        return
    check_file(path, sys.maxsize)
    if not path.stat().st_size:
        refuse(f"{path}: the file is empty")
    if path.suffix.lower() in IMAGE_FILES or cv2.haveImageReader(source):
        yield path.stem, read_image(path, exif), 0
    else:
        yield from stream(path.stem, source)


def check_name(path: Path) -> None:
    """Refuse a name that is not UTF-8: OpenCV would abort the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        refuse(f"{str(path)!a}: the name is not UTF-8")


def check_file(path: Path, most: int) -> None:
    """Refuse what is not a file, whose reading may never end, and a file of more than `most`
    bytes."""
    check_name(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "is a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        refuse(f"{path}: {kind}; expected a file")
    if found.st_size > most:
        refuse(f"{path}: found {found.st_size} bytes; expected at most {most}")


def read_file(path: Path, most: int) -> bytes:
    """Return the content of a file, of at most so many bytes."""
    check_file(path, most)
    with path.open("rb") as file:
        return file.read(most)


# What libjpeg and libpng print when pixels are damaged. Their other warnings are about metadata.
DAMAGE = re.compile(
    rb"^(?:Corrupt JPEG data: (?!bad ICC)|Premature end of JPEG|Inconsistent progression"
    rb"|libpng error: |libpng warning: (?:IDAT: |\w+: CRC error)).*",
    re.MULTILINE,
)
JPEG_START, PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
JPEG_END, JPEG_SCAN, JPEG_PROGRESSIVE = 0xD9, 0xDA, 0xC2


def read_image(path: Path, exif: str = "ignore") -> np.ndarray:
    """Decode an image file into uint8 (H, W, 3), BGR."""
    data = read_file(path, MAX_IMAGE)
    if not data:
        refuse(f"{path}: the file is empty")
    if exif == "apply" and data[4:12] in (b"ftypavif", b"ftypavis"):
        refuse(f"{path}: found an AVIF file; OpenCV does not turn it (--exif ignore takes it)")
    try:
        image, printed = decode(data, flags_of(data) | EXIF[exif])
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE_PIXELS" in str(error):
            refuse_pixels(path)
        refuse(f"{path}: OpenCV refuses the image: {error}")
    missing = missing_part(data)
    if missing:
        refuse(f"{path}: the image is cut off, {missing} missing ({len(data)} bytes)")
    damage = DAMAGE.search(printed)
    if damage:
        refuse(f"{path}: the image is damaged: {damage[0].decode(errors='replace')}")
    if image is None:
        refuse(f"{path}: not an image that OpenCV can read")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:  # where OpenCV was imported before
        refuse_pixels(path)
    # 16 bits as in PIL's convert("RGB"): grey is clipped, colour loses its low byte.
    if image.ndim == 2:
        image = cv2.cvtColor(np.minimum(image, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def refuse_pixels(path: Path) -> NoReturn:
    refuse(f"{path}: the image has too many pixels; expected at most {MAX_PIXELS}")


def flags_of(data: bytes) -> int:
    """Return the flags to decode an image with: those that keep 16 bits, where OpenCV would convert
    them to 8 in another way than PIL does. Of a PNG in colour, both drop the low byte."""
    grey, color = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH, cv2.IMREAD_COLOR
    if data.startswith(PNG_START):
        return grey if data[24:26] == b"\x10\0" else color
    if data[:2] not in (b"II", b"MM", b"P5"):  # TIFF and PGM
        return color
    image, _ = decode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16:
        return color
    return grey if image.ndim == 2 else color | cv2.IMREAD_ANYDEPTH


def decode(data: bytes, flags: int) -> tuple[np.ndarray | None, bytes]:
    """Return what OpenCV decodes, and what its libraries in C print meanwhile: OpenCV returns the
    grey half of a damaged JPEG, and only stderr says so."""
    with tempfile.TemporaryFile() as listener:
        stderr = os.dup(2)
        os.dup2(listener.fileno(), 2)
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        listener.seek(0)
        return image, listener.read(2**16)


def missing_part(data: bytes) -> str:
    """Return which part of a JPEG or PNG is missing, empty for none. Bytes behind its end are not
    its own, and libraries do not name what a scan would have brought."""
    try:
        if data.startswith(JPEG_START):
            return "its last scans are" if lacks_scans(jpeg_segments(data)) else ""
        if data.startswith(PNG_START):
            place = len(PNG_START)
            while struct.unpack_from(">4s", data, place + 4)[0] != b"IEND":
                place += 12 + struct.unpack_from(">I", data, place)[0]
    except (LookupError, TypeError, ValueError, struct.error):  # no such marker or bytes
        return "its end is"
    return ""


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of the segments of a JPEG up to its end, the pixels left out."""
    marker = re.compile(rb"\xff+([^\0\xd0-\xd7\xff])", re.DOTALL)  # no stuffing and no restart
    place, code = 2, 0
    while True:
        found = marker.search(data, place)
        code, place = found[1][0], found.end()
        if code == JPEG_END:
            return
        if code not in (0x01, 0xD8):  # those have no content
            length = struct.unpack_from(">H", data, place)[0]
            yield code, data[place + 2 : place + length]
            place += length


def lacks_scans(segments: Iterator[tuple[int, bytes]]) -> bool:
    """Return whether a progressive JPEG lacks bits of a coefficient. A scan brings coefficients of
    some components, but for some of their lowest bits (ITU T.81, B.2.3 and G.1)."""
    missing: dict[int, set[int]] = {}
    for code, content in segments:
        if code == JPEG_PROGRESSIVE:
            missing = {content[6 + 3 * index]: set(range(64)) for index in range(content[5])}
        elif code == JPEG_SCAN:
            first, last, bits = content[1 + 2 * content[0] :][:3]
            for component in content[1 : 1 + 2 * content[0] : 2]:
                if not bits & 0x0F:
                    missing.get(component, set()).difference_update(range(first, last + 1))
    return any(missing.values())


def stream(name: str, source: str | int) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield the frames of a video file, or of a camera until the caller stops."""
    capture = cv2.VideoCapture(source)
    has_frame, image = capture.read()
    if not has_frame:
        camera, other = "no such camera and no such file", "neither an image nor a video"
        refuse(f"{source}: {camera if isinstance(source, int) else other} that OpenCV can read")
    per_second = capture.get(cv2.CAP_PROP_FPS)
    while has_frame:
        yield name, image, per_second if 0 < per_second < 1000 else 25
        has_frame, image = capture.read()


# From an output to an answer: the two tasks


class Answers:
    """What a model's outputs mean; `names` are those of its classes by id, empty if unknown."""

    def __init__(self, classes: Path | None, model: Model) -> None:
        names = read_json(model.metadata.get("classes", ""))
        self.names = list(map(str, names)) if isinstance(names, list) else []
        self.source = "the metadata (--classes names a file)"
        if classes:
            self.names, self.source = class_lines(classes), str(classes)

    def name(self, index: int) -> str:
        return self.names[index] if self.names else f"class {index}"

    def check_count(self, outputs: int) -> None:
        if self.names and len(self.names) != outputs:
            found = f"found {len(self.names)} classes in {self.source}"
            refuse(f"--classes: {found}; the model has {outputs} outputs")


class Classification(Answers):
    """The answer is the logits, float32 (C,)."""

    def decide(self, output: np.ndarray) -> np.ndarray:
        """Return the logits of an output of shape (1, C) or (1, C, 1, 1)."""
        if output.ndim < 2 or output.size != output.shape[1]:
            refuse(f"the model's output is {output.shape}; expected (1, classes)")
        self.check_count(output.size)
        return output.reshape(-1)

    def table(self, logits: np.ndarray) -> list[str]:
        """Return the best classes, a line each: id, label, logit, softmax."""
        confidence, labels = softmax(logits), {index: self.name(index) for index in ranking(logits)}
        width = max(map(len, ("label", *labels.values())))
        return [f"class  {'label':{width}}       logit   softmax"] + [
            f"{index:5}  {label:{width}}  {logits[index]:10.4f}  {confidence[index]:6.2f} %"
            for index, label in labels.items()
        ]

    def summarise(self, logits: np.ndarray) -> str:
        """Return the best class in one line."""
        best = ranking(logits)[0]
        return f"{best} {self.name(best)} {softmax(logits)[best]:.2f} %"

    def draw(self, image: np.ndarray, logits: np.ndarray, time_ms: float, _: bool) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), BGR, with label, confidence and time in a corner."""
        best = ranking(logits)[0]
        picture = fit_canvas(image.copy())
        confidence = f"{softmax(logits)[best]:.2f} %, logit {logits[best]:.4f}"
        put_corner(picture, [self.name(best), confidence, f"{time_ms:.1f} ms"])
        return picture


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the confidence in each class in percent, float64 (C,)."""
    with np.errstate(invalid="ignore"):  # infinite logits
        powers = np.exp(logits.astype(np.float64) - logits.max())
        return 100 * powers / powers.sum()


def ranking(logits: np.ndarray) -> list[int]:
    """Return the ids of the best classes, the best first."""
    return np.argsort(-logits, kind="stable")[:TOP].tolist()


class Segmentation(Answers):
    """The answer is the mask of class ids, uint8 (H, W); `colors` are uint8 (256, 3), BGR."""

    def __init__(self, classes: Path | None, model: Model) -> None:
        super().__init__(classes, model)
        self.colors = voc_colors()
        rows = [re.fullmatch(r"(.*\S)\s+(\d+)\s+(\d+)\s+(\d+)", name) for name in self.names]
        if classes and all(row and max(map(int, row.groups()[1:])) < 256 for row in rows):
            self.names = [row[1] for row in rows]
            self.colors[: len(rows)] = [[int(row[i]) for i in (4, 3, 2)] for row in rows[:256]]

    def decide(self, output: np.ndarray) -> np.ndarray:
        """Return the mask of an output of shape (1, C, H, W)."""
        if output.ndim != 4 or not 2 <= output.shape[1] <= 256:
            expected = "expected (1, 2 to 256 classes, height, width)"
            refuse(f"the model's output is {output.shape}; {expected}")
        self.check_count(output.shape[1])
        return output[0].argmax(axis=0).astype(np.uint8)

    def table(self, mask: np.ndarray) -> list[str]:
        """Return the classes found, a line each: id, name, share of the pixels."""
        found = shares(mask)
        width = max(len(self.name(index)) for index in found)
        return [f"class  {'name':{width}}  pixels"] + [
            f"{index:5}  {self.name(index):{width}}  {share:6.2f} %"
            for index, share in found.items()
        ]

    def summarise(self, mask: np.ndarray) -> str:
        """Return the classes found in one line."""
        return ", ".join(f"{self.name(i)} {percent(share)}" for i, share in shares(mask).items())

    def draw(
        self, image: np.ndarray, mask: np.ndarray, time_ms: float, is_frame: bool
    ) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), BGR, under the colours of the mask, with time and
        legend; the frames of a video have one height, whatever is found in them."""
        picture = fit_canvas(cv2.addWeighted(image, 0.5, self.color(mask, image.shape), 0.5, 0))
        put_corner(picture, [f"{time_ms:.1f} ms"])
        found, known = shares(mask), list(range(len(self.names)))
        shown = known if 0 < len(known) <= LEGEND_CLASSES else [] if is_frame else sorted(found)
        return cv2.vconcat([picture, *self.legend(shown, found, picture.shape)])

    def color(self, mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return a mask in its colours, uint8 (H, W, 3), BGR, as high and wide as an image."""
        size = (shape[1], shape[0])
        return self.colors[cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)]

    def legend(
        self, shown: list[int], found: dict[int, float], shape: Sequence[int]
    ) -> list[np.ndarray]:
        """Return the rows of a legend as wide as a picture: colour, name and share of the pixels
        of each class, paler where it was not found."""
        width, line = shape[1], line_height(shape)
        names = [shorten(self.name(index), width - 6 * line, line) for index in shown]
        cells = [text_width(f"{name} 100.0 %", line) + 2 * line for name in names]
        columns = max(1, width // max(cells, default=width))
        rows, pad = [], line // 3
        for start in range(0, len(names), columns):
            row = np.full((line + pad, width, 3), DARK, np.uint8)
            for column, index in enumerate(shown[start : start + columns]):
                x = column * width // columns + pad
                box = row[pad // 2 : pad // 2 + line, x : x + line]
                box[:] = GREY
                box[1:-1, 1:-1] = self.colors[index]
                share = f" {percent(found[index])}" if index in found else ""
                color = WHITE if index in found else GREY
                put_text(row, names[start + column] + share, x + line + pad, pad // 2, line, color)
            rows.append(row)
        return rows


def voc_colors() -> np.ndarray:
    """Return the colours of Pascal VOC's development kit, uint8 (256, 3), BGR: the bits of a class
    id go to red, green and blue in turn, the lowest to the highest bit of a colour."""
    ids = np.arange(256)[:, None]
    colors = np.zeros((256, 3), np.int64)
    for bit in range(8):
        colors |= (ids >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return colors[:, ::-1].astype(np.uint8)


def shares(mask: np.ndarray) -> dict[int, float]:
    """Return the percentage of pixels of each class found, the largest first."""
    counts = np.bincount(mask.reshape(-1))
    found = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return {int(index): 100 * counts[index] / mask.size for index in found}


def percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


TASKS = {"classification": Classification, "segmentation": Segmentation}


def class_lines(path: Path) -> list[str]:
    """Return the lines of a classes file: the line number is the class id."""
    try:
        text = read_file(path, MAX_TEXT).decode("utf-8-sig")
        lines = [line.strip() for line in text.splitlines()]
    except UnicodeDecodeError:
        refuse(f"{path}: not a text file in UTF-8")
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        found = "a blank line" if lines else "no class"
        refuse(f"{path}: found {found}; expected one class per line")
    return lines


# The verification of a bundle


FORMAT = 1  # of verify.json
STEPS = ("files", "decoding", "preprocessing", "network", "chain")
LIMITS = ("decoding", "preprocessing", "rel", "agreement")
SUMS, SUM = "SHA256SUMS", re.compile(r"([0-9a-f]{64})  (.+)")
TIMED = 5  # forward passes
NAMED = 5  # files that a line names


def verify(args: argparse.Namespace) -> None:
    """Verify a bundle and print a line for each step; exits with code 1 where one fails."""
    bundle = read_bundle(args.bundle or Path(__file__).resolve().parent)
    content, engine = bundle.content, str(bundle.content["opencv"]["engine"])
    args.model, args.output_name = bundle.folder / "model.onnx", bundle.args.output_name
    if args.engine is None and engine in constants("engine"):
        args.engine = engine
    settings = find_settings(args, {})
    if args.report:
        check_report(args.report)
    if content["forced"]:
        say(f"this model did not pass: {content['verdict']}")
    proven = f"{content['reference']} and OpenCV {content['opencv']['version']}"
    say(f"{content['model']}, {bundle.task}: proven with {proven}; here OpenCV {cv2.__version__}")

    verification = Verification(bundle, args)
    for name in STEPS:
        step = verification.take(name)
        say(f"{name}: {step.result}: {step.text}")
    milliseconds = verification.milliseconds()
    if milliseconds is not None:
        say(f"time: {milliseconds:.1f} ms, the median of {TIMED} warm passes")
    found = environment(settings, verification.network)
    ran = ", ".join(f"{name} {found[name]}" for name in ("engine", "backend", "target"))
    say(
        f"OpenCV {found['opencv']} on {found['machine']}, {found['processor']}, {found['system']}",
        f"CPU features: {found['cpu_features']}",
        f"{found['threads']} threads; asked for {found['asked']}; ran {ran}",
    )
    failed = verification.failed()
    if args.report:
        known = {key: content[key] for key in ("format", "model", "verdict", "forced")}
        known.update(runner="python", passed=not failed, steps=verification.report())
        if milliseconds is not None:
            known["milliseconds"] = milliseconds
        write_report(args.report, {**known, "environment": found})
    say(f"verify: fail: {', '.join(failed)}" if failed else "verify: pass")
    if failed:
        sys.exit(1)


class Example(NamedTuple):
    """An image of a bundle: its file, and the files of what was proven for it."""

    name: str
    image: Path
    pixels: Path
    blob: Path
    logits: Path


class Bundle(NamedTuple):
    """What a bundle says about itself; `args` are the flags of its preprocessing."""

    folder: Path
    content: dict
    limits: dict[str, float]
    examples: list[Example]
    args: argparse.Namespace
    how: Preprocessing

    @property
    def task(self) -> str:
        return self.args.task


def read_bundle(folder: Path) -> Bundle:
    """Read verify.json and preprocessing.json; refuses a folder that is no bundle."""
    path = folder / "verify.json"
    content, preprocessing = read_object(path), read_object(folder / "preprocessing.json")
    if content.get("format") != FORMAT:
        found = f"found the format {content.get('format')!r}"
        refuse(f"{path}: {found}; expected {FORMAT}, the one that this script knows")
    try:
        limits = {name: float(content["limits"][name]) for name in LIMITS}
        examples = [
            Example(str(one["name"]), *(inside(folder, one[key]) for key in Example._fields[1:]))
            for one in content["images"]
        ]
        if not examples:
            raise ValueError("it has no images")
        for key in ("model", "verdict", "forced", "reference"):
            content[key]
        content["opencv"]["engine"], content["opencv"]["version"]
        flags = [f"--task={preprocessing['task']}", *preprocessing["flags"].split()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        refuse(f"{path}: not a bundle's: {type(error).__name__} {error}")
    args = parse_flags(["--model", "model.onnx", "--input", "image", *flags])
    how = find_preprocessing(args, args.task, Model("", {}, None), {})
    return Bundle(folder, content, limits, examples, args, how)


def read_object(path: Path) -> dict:
    """Read a JSON file of a bundle; refuses one that is missing or holds something else."""
    try:
        found = json.loads(read_file(path, MAX_TEXT).decode())
    except (FileNotFoundError, NotADirectoryError):
        refuse(f"{path}: no such file; expected that of a bundle (--bundle names its folder)")
    except (ValueError, RecursionError) as error:
        refuse(f"{path}: not JSON: {error}")
    if not isinstance(found, dict):
        refuse(f"{path}: found {type(found).__name__}; expected an object")
    return found


def inside(folder: Path, name: str) -> Path:
    """Return the path of a bundle's file; refuses one outside of the folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        refuse(f"{folder}: found the file name {name!r}; expected one in the folder of the bundle")
    return folder / path


def read_array(path: Path) -> np.ndarray:
    """Read a blob or the logits of a bundle, float32; refuses another file."""
    check_file(path, sys.maxsize)
    try:
        array = np.load(str(path), allow_pickle=False)
    except (ValueError, EOFError) as error:
        refuse(f"{path}: not an .npy file: {error}")
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or not array.size:
        refuse(f"{path}: found another content; expected an array of float32")
    return array


class Step(NamedTuple):
    """What a step of a verification found: `pass`, `fail` or `skipped`, why, and its figures."""

    result: str
    text: str
    figures: dict[str, float]


def judged(passes: bool, text: str, **figures: float) -> Step:
    return Step("pass" if passes else "fail", text, figures)


class Verification:
    """The steps from a bundle's files to its answers, and `network`, None while it is not read."""

    def __init__(self, bundle: Bundle, args: argparse.Namespace) -> None:
        self.bundle, self.args = bundle, args
        self.steps: dict[str, Step] = {}
        self.network: Network | None = None

    def take(self, name: str) -> Step:
        """Take a step; one that cannot be taken fails. Refuses where this OpenCV cannot read or run
        a model that is as it was bundled."""
        try:
            step = getattr(self, f"check_{name}")()
        except Unusable as error:
            if self.steps["files"].result == "pass":
                found = f"OpenCV {cv2.__version__} cannot run this model"
                version = self.bundle.content["opencv"]["version"]
                refuse(f"{found}, proven with OpenCV {version}: {error.message}")
            step = judged(False, error.message)
        except Refusal as refusal:
            step = judged(False, refusal.message)
        except cv2.error as error:
            step = judged(False, " ".join(f"OpenCV: {error}".split()))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            step = judged(False, f"{error.filename}: {reason}")
        self.steps[name] = step
        return step

    def failed(self) -> list[str]:
        return [name for name, step in self.steps.items() if step.result == "fail"]

    def report(self) -> dict[str, dict]:
        """Return the steps as a report has them."""
        return {
            name: {"result": step.result, "text": step.text, **step.figures}
            for name, step in self.steps.items()
        }

    def check_files(self) -> Step:
        """Compare every listed file with its hash. Others in the folder do not count."""
        text = read_file(self.bundle.folder / SUMS, MAX_TEXT).decode(errors="replace")
        wrong, lines = [], text.splitlines()
        if not lines:
            refuse(f"{SUMS}: lists no file")
        for line in lines:
            match = SUM.fullmatch(line)
            if not match:
                refuse(f"{SUMS}: found {line[:80]!r}; expected a hash and a name")
            path = inside(self.bundle.folder, match[2])
            if not path.is_file():
                wrong.append(f"{match[2]} is missing")
            elif sha256_of(path) != match[1]:
                wrong.append(f"{match[2]} has changed")
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        return judged(not wrong, ", ".join(wrong[:NAMED]) + more or f"{len(lines)} files")

    def check_decoding(self) -> Step:
        """Compare the pixels that this OpenCV decodes with the bundled ones."""
        distance = Distance()
        for example in self.bundle.examples:
            found = read_image(example.image, self.bundle.how.exif)
            distance.add(example.name, found, read_image(example.pixels), 1)
        return distance.judged("identical", self.bundle.limits["decoding"])

    def check_preprocessing(self) -> Step:
        """Compare the blobs that this OpenCV makes of the bundled pixels with the bundled ones."""
        distance, how = Distance(), self.bundle.how
        levels = [float(value / how.scale) for value in (how.std if how.rgb else how.std[::-1])]
        for example in self.bundle.examples:
            found = blob_of(read_image(example.pixels), how)
            expected = read_array(example.blob)
            distance.add(example.name, found, expected, np.array(levels)[:, None, None])
        return distance.judged("bit for bit", self.bundle.limits["preprocessing"])

    def check_network(self) -> Step:
        """Compare the logits of the bundled blobs with the bundled logits."""
        self.network = Network(self.args, find_output(self.args, read_model(self.args.model)), {})
        linf = largest = 0.0
        classes = Classes()
        for example in self.bundle.examples:
            expected = read_array(example.logits)
            found = self.network.answer(read_array(example.blob))
            classes.add(example.name, found, expected)
            for name, values in (("output", found), ("bundled logits", expected)):
                if not (np.abs(values) < FLOAT32_MAX).all():
                    what = "NaN" if np.isnan(values).any() else "infinity"
                    return judged(False, f"{example.name}: the {name}: found {what}")
            linf = max(linf, float(np.abs(found.astype(np.float64) - expected).max()))
            largest = max(largest, float(np.abs(expected).max()))
        rel, limits = linf / (largest or 1), self.bundle.limits
        text = f"rel {rel:.1e} (limit {limits['rel']:g}), the same class in "
        text += f"{classes.agreement:.6g} % (limit {limits['agreement']:g} %)"
        passes = rel <= limits["rel"] and classes.agreement >= limits["agreement"]
        return judged(passes, text, rel=rel, agreement=classes.agreement)

    def check_chain(self) -> Step:
        """Compare the answers to the image files with those of the bundled logits."""
        if not self.network:
            return Step("skipped", "the network cannot be read", {})
        classes, how = Classes(), self.bundle.how
        for example in self.bundle.examples:
            found = self.network.answer(blob_of(read_image(example.image, how.exif), how))
            classes.add(example.name, found, read_array(example.logits))
        if self.bundle.task == "classification":
            passes = not classes.other
            text = f"the bundled class for {classes.same} of {classes.count} images"
            if classes.other:
                text += f", not for {', '.join(classes.other[:NAMED])}"
        else:
            limit = self.bundle.limits["agreement"]
            passes = classes.agreement >= limit
            text = f"the bundled class in {classes.agreement:.6g} % of the pixels"
            text += f" (limit {limit:g} %)"
        if not passes and self.steps["decoding"].figures.get("levels"):
            text += "; differs because of decoding"
        return judged(passes, text, agreement=classes.agreement)

    def milliseconds(self) -> float | None:
        """Return the median time of a warm forward pass; None where the network gives no answer."""
        if not self.network or not self.steps["network"].figures:
            return None
        blob = read_array(self.bundle.examples[0].blob)
        return sorted(self.network.run(blob)[1] for _ in range(TIMED))[TIMED // 2]


class Distance:
    """How far arrays are from the bundled ones: the largest difference in levels, of 0 to 255, and
    how many values differ."""

    def __init__(self) -> None:
        self.levels, self.differing, self.count = 0.0, 0, 0

    def add(
        self, name: str, found: np.ndarray, expected: np.ndarray, levels: np.ndarray | float
    ) -> None:
        """Add an array whose unit is so many levels; refuses one of another shape."""
        if found.shape != expected.shape:
            refuse(f"{name}: found the shape {found.shape}; expected {expected.shape}")
        apart = np.abs(found.astype(np.float64) - expected) * levels
        self.levels = float(np.maximum(self.levels, apart.max()))  # unlike max, keeps a NaN
        self.differing += int(np.count_nonzero(found != expected))
        self.count += found.size

    def judged(self, same: str, limit: float) -> Step:
        """Return a step that says `same` where nothing differs."""
        levels, share = round(self.levels, 3), 100 * self.differing / self.count
        text = f"at most {levels:g} of 255 levels apart (limit {limit:g}), {share:.3g} % differ"
        text = text if self.differing else same
        return judged(levels <= limit, text, levels=levels, share=share)


class Classes:
    """How many images, or pixels, get the bundled class, and the images where not all do."""

    def __init__(self) -> None:
        self.same, self.count = 0, 0
        self.other: list[str] = []

    def add(self, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        """Add logits (1, C) or (1, C, H, W); refuses another shape than the bundled one."""
        if found.shape != expected.shape:
            refuse(f"{name}: found an output {found.shape}; expected {expected.shape}")
        same = found.argmax(axis=1) == expected.argmax(axis=1)
        self.same, self.count = self.same + int(np.count_nonzero(same)), self.count + same.size
        if not same.all():
            self.other.append(name)

    @property
    def agreement(self) -> float:
        """The percentage with the bundled class."""
        return 100 * self.same / self.count


def sha256_of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            found.update(block)
    return found.hexdigest()


def environment(settings: Settings, network: Network | None) -> dict[str, str | int]:
    """Return what the result depends on here, besides the bundle."""
    ran = network.what_ran() if network else dict.fromkeys(("engine", "backend", "target"), UNKNOWN)
    return {
        "opencv": cv2.__version__,
        "cpu_features": cv2.getCPUFeaturesLine(),
        "machine": platform.machine(),
        "processor": processor(),
        "system": platform.platform(),
        "threads": cv2.getNumThreads(),
        "asked": settings.text(),
        **ran,
    }


def processor() -> str:
    """Return the name of the processor or board, as Linux reports it, elsewhere as Python does."""
    names: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            key, _, value = line.partition(":")
            names.setdefault(key.strip().lower(), value.strip())
    return names.get("model name") or names.get("model") or platform.processor() or UNKNOWN


def check_report(path: Path) -> None:
    """Create the folder of a report. Refuses to replace a file that is none."""
    try:
        if os.path.lexists(path) and "runner" not in json.loads(read_file(path, MAX_TEXT).decode()):
            raise ValueError
        path.parent.mkdir(parents=True, exist_ok=True)
    except (TypeError, ValueError):
        refuse_target(path, "it is there, and it is no report", "--report")
    except OSError as error:
        refuse_target(path, (error.strerror or str(error)).lower(), "--report")


def write_report(path: Path, content: dict) -> None:
    with completed(path, "--report") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    say(f"report: {path}")


# Text in pictures


def fit_canvas(picture: np.ndarray) -> np.ndarray:
    """Make room for legible text: enlarge a small picture, uint8 (H, W, 3), by a whole factor, and
    add a margin to a narrow one."""
    factor = -(-MIN_SIDE // max(picture.shape[:2]))
    if factor > 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    bottom, right = max(0, MIN_HEIGHT - picture.shape[0]), max(0, MIN_SIDE - picture.shape[1])
    return cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=DARK)


def line_height(shape: Sequence[int]) -> int:
    """Return the pixels of a line of text that is legible when the whole picture is seen."""
    height, width = shape[:2]
    return int(min(max(MIN_TEXT, math.sqrt(height * width) / 25), height / 4, width / 14))


def text_style(line: int) -> tuple[float, int]:
    """Return scale and thickness of OpenCV's font for a line of so many pixels."""
    thickness = max(1, round(line / 18))
    return cv2.getFontScaleFromHeight(FONT, max(1, round(0.56 * line)), thickness), thickness


def text_width(text: str, line: int) -> int:
    scale, thickness = text_style(line)
    return cv2.getTextSize(text, FONT, scale, thickness)[0][0]


def put_text(
    picture: np.ndarray, text: str, x: int, top: int, line: int, color: Sequence[int] = WHITE
) -> None:
    """Write a line of text, `line` pixels high, into the picture; its corner is at x, top."""
    scale, thickness = text_style(line)
    foot = (x, top + round(0.76 * line))
    cv2.putText(picture, text, foot, FONT, scale, color, thickness, cv2.LINE_AA)


def shorten(text: str, width: int, line: int) -> str:
    """Cut a text so that it takes at most `width` pixels."""
    if text_width(text, line) <= width:
        return text
    while text and text_width(text + "...", line) > width:
        text = text[:-1]
    return text + "..."


def put_corner(picture: np.ndarray, lines: Sequence[str]) -> None:
    """Write lines into the top left corner, on a dark box."""
    line = line_height(picture.shape)
    pad = line // 3
    lines = [shorten(text, picture.shape[1] - 2 * pad, line) for text in lines]
    width = max(text_width(text, line) for text in lines) + 2 * pad
    box = picture[: len(lines) * line + pad, :width]
    box[:] = (0.25 * box + 0.75 * np.array(DARK)).astype(np.uint8)
    for row, text in enumerate(lines):
        put_text(picture, text, pad, pad // 2 + row * line, line)


# Files and windows


# This tool's files carry it: a picture after its header, a video and arrays at their end.
MARK = b"Software\0run_onnx"


def is_own(path: Path) -> bool:
    """Return whether a path is a file that this tool wrote."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        head = file.read(1024)
        file.seek(max(0, path.stat().st_size - 64))
        return MARK in (head if head.startswith(PNG_START) else file.read())


def check_target(path: Path, source: str, flag: str) -> None:
    """Create the folder of a file to write. Refuses to replace anything but what this tool wrote,
    and the input `source`; `flag` names another place."""
    inputs = [Path(source), Path(source) / path.name]
    try:
        if os.path.lexists(path):
            if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
                refuse_target(path, "it is the input itself", flag)
            if not is_own(path):
                refuse_target(path, "it is there, and this tool did not write it", flag)
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse_target(path, (error.strerror or str(error)).lower(), flag)


@contextmanager
def completed(path: Path, flag: str) -> Iterator[Path]:
    """Yield a path beside `path`, which replaces it on success, and is removed on an error."""
    partial = partial_of(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        refuse_target(path, (error.strerror or str(error)).lower(), flag)
    finally:
        remove(partial)


def partial_of(path: Path) -> Path:
    return path.with_name(f".{os.getpid()}.partial{path.suffix}")


def remove(path: Path) -> None:
    with suppress(OSError):  # it may not exist
        path.unlink()


def refuse_target(path: Path, reason: str, flag: str) -> NoReturn:
    refuse(f"{path}: cannot be written: {reason} ({flag} names another place)")


def save(path: Path, **arrays: object) -> None:
    """Write arrays for np.load."""
    with completed(path, "--save") as partial:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.comment = MARK


def chunk(data: bytes) -> bytes:
    """Return a chunk of text of a PNG file."""
    checksum = zlib.crc32(b"tEXt" + data)
    return struct.pack(">I4s", len(data), b"tEXt") + data + struct.pack(">I", checksum)


class Viewer:
    """Writes pictures, or frames as a video, and shows them in a window if `title` names one."""

    def __init__(self, folder: Path, source: str, title: str | None) -> None:
        self.folder, self.source = folder, source
        self.window = title if title and has_display() else None
        self.note = " (there is no display to show it on)" if title and not self.window else ""
        self.video: Path | None = None
        self.writer, self.frames = cv2.VideoWriter(), 0

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Finish the video, if there is one, also after Ctrl-C; an error discards it."""
        if not self.video:
            return
        self.writer.release()
        if kind not in (None, KeyboardInterrupt) or not self.frames:
            remove(partial_of(self.video))
            return
        with completed(self.video, "--output") as partial:
            found = cv2.VideoCapture(str(partial)).get(cv2.CAP_PROP_FRAME_COUNT)
            if found < self.frames:  # OpenCV does not say that it could not write
                lost = f"only {found:.0f} of {self.frames} frames reached the disk; is it full?"
                refuse_target(self.video, lost, "--output")
            with partial.open("ab") as file:
                file.write(struct.pack("<4sI", b"JUNK", len(MARK)) + MARK + bytes(len(MARK) % 2))
        say(f"video: {self.video}{self.note}")

    def add(self, name: str, picture: np.ndarray, per_second: float) -> bool:
        """Write a picture or frame, or show it; return False when the user has seen enough."""
        if per_second and self.window:
            return self.show(picture, wait=False)
        if per_second:
            self.write_frame(self.folder / f"{name}.avi", picture, per_second)
            return True
        path = self.folder / f"{name}.png"
        check_target(path, self.source, "--output")
        with completed(path, "--output") as partial:
            encoded = cv2.imencode(".png", picture)[1].tobytes()
            partial.write_bytes(encoded[:33] + chunk(MARK) + encoded[33:])  # after the header
        say(f"picture: {path}{self.note}")
        return not self.window or self.show(picture, wait=True)

    def write_frame(self, path: Path, picture: np.ndarray, per_second: float) -> None:
        if not self.video:
            check_target(path, self.source, "--output")
            size, code = picture.shape[1::-1], cv2.VideoWriter.fourcc(*"MJPG")
            self.video = path
            if not self.writer.open(str(partial_of(path)), code, per_second, size):
                refuse_target(path, "OpenCV cannot open it", "--output")
        self.writer.write(picture)
        self.frames += 1

    def show(self, picture: np.ndarray, wait: bool) -> bool:
        """Show a picture, and wait for a key; return False for one that quits."""
        if not self.is_open():
            cv2.namedWindow(self.window, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        height, width = picture.shape[:2]
        share = min(1, MAX_WINDOW[0] / width, MAX_WINDOW[1] / height)
        cv2.resizeWindow(self.window, round(width * share), round(height * share))
        cv2.imshow(self.window, picture)
        while True:
            # In short steps, so that Ctrl-C and a closed window are noticed.
            key = cv2.waitKey(20 if wait else 1)
            closed = not self.is_open()
            if key in (ESCAPE, QUIT) or (closed and not wait):
                return False
            if (key >= 0 and key not in MODIFIERS) or closed or not wait:
                return True

    def is_open(self) -> bool:
        """Return whether the window exists and the user has not closed it."""
        try:
            return cv2.getWindowProperty(self.window, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt has no such window
            return False


def has_display() -> bool:
    """Return whether OpenCV can open a window. Another process tries: a failure would abort it."""
    probe = [sys.executable, "-c", "import cv2; cv2.namedWindow('probe')"]
    return subprocess.run(probe, capture_output=True).returncode == 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing half-written stays
    run()
