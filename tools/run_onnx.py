"""Run a classification or segmentation model on images or video, with OpenCV and NumPy alone.

This file needs nothing else of the project: copy it next to an ONNX file and run it there. Task,
preprocessing and class names come from the file's metadata; flags override them. Where the package
yaml is installed, params.yaml in the current folder adds its settings.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, NoReturn

# The logs repeat what is raised as an error.
if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

PARAMS = Path("params.yaml")
# The preprocessing without metadata and params.yaml: ImageNet's, in the form of both.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZES = {"classification": {"resize": 256, "crop": 224}, "segmentation": "own"}
INTERPOLATIONS = {
    name: getattr(cv2, f"INTER_{name.upper()}") for name in ("nearest", "linear", "cubic", "area")
}
FLOAT32 = 1  # in onnx.proto
IMAGE_FILES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TOP = 5  # classes of an image that are printed
LEGEND_CLASSES = 32  # with more classes, the legend lists only those found
MAX_SIDE, MAX_PIXELS = 2**15 - 1, 2**27  # of a resized image
MIN_SIDE, MIN_HEIGHT, MIN_TEXT = 320, 96, 22  # pixels of a picture and of a line of text
MAX_WINDOW = 1280, 800  # pixels
ESCAPE, QUIT = 27, ord("q")
MODIFIERS = range(0xE1, 0xEF)  # Shift, Alt, ...: the last byte of X11's codes
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, GREY, DARK = (255, 255, 255), (150, 150, 150), (32, 32, 32)  # BGR


def main(argv: list[str] | None = None) -> None:
    args = parse_flags(argv)
    params = read_params()
    model = read_model(args.model)
    task = find_task(args, model)
    how = find_preprocessing(args, task, model, params)
    answers = TASKS[task](args.classes, model)
    network = Network(args, params)
    print(f"{network.title}: {len(network.layers)} layers")
    if args.verbose:
        print(*network.layers, sep="\n")
    print(f"preprocessing ({how.source}): {how.flags()}")

    viewer = Viewer(args.output, args.input, task if args.show else None)
    try:
        for count, (name, image, per_second) in enumerate(frames(args.input), start=1):
            if args.save and (per_second or Path(args.input).is_dir()):
                refuse(f"--save: found --input {args.input}; expected a single image")
            blob = blob_of(image, how)
            output, time_ms = network.run(blob)
            answer = answers.decide(output)
            if per_second:
                print(f"frame {count}: {answers.summarise(answer)}, {time_ms:.1f} ms")
            else:
                print(f"{name}: output {output.shape}, {time_ms:.1f} ms")
                print(*answers.table(answer), sep="\n")
            if args.save:
                with new_file(args.save, args.input) as partial, partial.open("wb") as file:
                    np.savez(file, blob=blob, output=output, milliseconds=time_ms)
                break
            picture = answers.draw(seen_part(image, how), answer, time_ms, bool(per_second))
            if not viewer.add(f"{model.name}-{name}", picture, per_second):
                break
    finally:
        viewer.close()


def run(argv: list[str] | None = None) -> None:
    """Run `main`; where that fails, end with one line on stderr and without a traceback."""
    try:
        try:
            main(argv)
        finally:
            print(end="", flush=True)
    except cv2.error as error:
        refuse(f"OpenCV: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.filename is None:  # of stdout, which Python would flush once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has left, as `head` does
            sys.exit(141)
        refuse(f"{error.filename or 'stdout'}: {error.strerror.lower()}")


def refuse(message: str) -> NoReturn:
    """Exit with code 2 and one line on stderr: what was found, and what was expected."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


# The command line


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; flags that are not given are None."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.error = lambda message: refuse(f"{message} (--help explains the flags)")
    add, path = parser.add_argument, {"type": Path}
    add("--model", **path, required=True, help="the ONNX file")
    media = "an image, a folder of images, a video file, or the index of a camera, such as 0"
    add("--input", required=True, help=media)
    add("--task", choices=TASKS, help="default: the model's metadata")
    names = "a text file with one class per line in the order of the ids: `name`, or `name r g b`"
    add("--classes", **path, help=f"{names}; default: the model's metadata")
    folder = "where pictures go, and the MJPG video of a video or camera; default: %(default)s"
    add("--output", **path, default=Path("plots/demo"), help=folder)
    window = "open a window: any key continues, q or Esc quits; a video is shown, not written"
    add("--show", action="store_true", help=window)
    arrays = "write `blob`, `output` and `milliseconds` of one image for np.load, and no picture"
    add("--save", **path, metavar="FILE.npz", help=arrays)
    add("--verbose", action="store_true", help="print the names of the layers that OpenCV created")

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

    add = parser.add_argument_group(
        "OpenCV", "The defaults are params.yaml's, else the values below."
    ).add_argument
    add("--engine", help="cv2.dnn.ENGINE_*: auto, classic, new; default: auto")
    add("--backend", help="cv2.dnn.DNN_BACKEND_*: default, opencv, cuda, ...; default: default")
    add("--target", help="cv2.dnn.DNN_TARGET_*: cpu, opencl, cuda, ...; default: cpu")
    add("--threads", type=int, help="0: as many as OpenCV uses by itself; default: 0")
    args = parser.parse_args(argv)
    if args.resize is not None:
        args.rsz_height = args.rsz_width = args.resize
    return args


def number(value: str | float) -> Fraction:
    """Read a number exactly: 0.485 or 1/255, or the float nearest to it. A flag and the metadata
    thus make the same blob to the bit. Raises ValueError for anything else, and beyond 1e9."""
    try:
        written = Fraction(str(value))
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


class Model(NamedTuple):
    """What an ONNX file says: the name for its pictures, the metadata, and the height and width of
    its input, None where they are dynamic."""

    name: str
    metadata: dict[str, str]
    fixed: tuple[int, int] | None


def read_model(path: Path) -> Model:
    """Read an ONNX file's metadata and check that its only input is one image, which OpenCV does
    not do. The numbers of the fields are those of onnx.proto."""
    check_name(path)
    try:
        with path.open("rb") as file:
            model = fields(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        graph = fields(model[7][-1])
        constants = {string(fields(tensor), 8) for tensor in graph.get(5, [])}
        values = [fields(value) for value in graph.get(11, [])]
        inputs = {string(value, 1): element_and_shape(value) for value in values}
        entries = [fields(entry) for entry in model.get(14, [])]
        metadata = {string(entry, 1): string(entry, 2) for entry in entries}
        if not graph.get(1):
            raise ValueError("it has no nodes")
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
    return Model("-".join(filter(None, names)), metadata, tuple(sides) if all(sides) else None)


def fields(message: memoryview) -> dict[int, list]:
    """Decode a protobuf message into lists of values by field number: ints, or bytes for floats,
    strings and messages within. See "Encoding" in the documentation of Protocol Buffers.

    Raises IndexError, KeyError or ValueError for bytes that are not a message.
    """
    found: dict[int, list] = {}
    place = 0

    def varint() -> int:
        nonlocal place
        value = 0
        for shift in range(0, 70, 7):
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number has more than ten bytes")

    while place < len(message):
        field, wire_type = divmod(varint(), 8)
        value = varint() if wire_type in (0, 2) else 0
        if wire_type:
            start, place = place, place + {1: 8, 2: value, 5: 4}[wire_type]
            if place > len(message):
                raise ValueError("the file ends too early")
            value = message[start:place]
        found.setdefault(field, []).append(value)
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
            return tensor.get(1, [0])[-1], [side.get(1, [None])[-1] for side in shape]
    return 0, []


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

        content = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    except (ImportError, FileNotFoundError):
        return {}
    except Exception as error:  # yaml.YAMLError has no name where yaml is missing
        refuse(f"{PARAMS}: cannot be read as YAML: {error}")
    return content if isinstance(content, dict) else {}


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
            f"--interpolation {self.interpolation} {antialias}"
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

    how["crop"] = how["crop"] and how["size"] is not None
    if how["crop"] and not how["resize"]:
        how.update(resize=how["size"], keep_aspect=True)
    if how["crop"] and np.greater(how["size"], how["resize"]).any():
        found = "found {} x {}; expected at most {} x {}".format(*how["size"], *how["resize"])
        refuse(f"--crop: {found}, what the image is resized to (--resize)")
    return Preprocessing(**how, source=source)


def find_profile(path: Path, task: str, metadata: dict[str, str], params: dict) -> tuple[dict, str]:
    """Return the profile in the metadata, in params.yaml or else ImageNet's, and its origin."""
    try:
        profile = json.loads(metadata.get("preprocess", ""))
    except ValueError:  # no entry, or one of another program's
        profile = None
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
    }
    if len(how["mean"]) != 3 or len(how["std"]) != 3:
        raise ValueError("expected three numbers as mean and as std")
    if how["interpolation"] not in INTERPOLATIONS:
        raise ValueError(f"interpolation {how['interpolation']!r}")
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


class Network:
    """A model in OpenCV: the names of its `layers`, and a `title` with version and settings."""

    def __init__(self, args: argparse.Namespace, params: dict) -> None:
        chosen = {"engine": "auto", "backend": "default", "target": "cpu"}
        for name, default in chosen.items():
            found = getattr(args, name) or section(params, "opencv").get(name) or default
            chosen[name] = str(found)
        engine, backend, target = (constant(name, value) for name, value in chosen.items())
        if target not in cv2.dnn.getAvailableTargets(backend or cv2.dnn.DNN_BACKEND_OPENCV):
            # OpenCV would fall back to the CPU and only warn.
            lacks = f"OpenCV {cv2.__version__} cannot use it with --backend {chosen['backend']}"
            refuse(f"--target: found {chosen['target']!r}; this {lacks}")
        threads = args.threads or section(params, "opencv").get("threads")
        if isinstance(threads, int) and threads > 0:
            cv2.setNumThreads(threads)
        self.path = args.model
        try:
            options = [] if engine is None else [engine]
            self.net = cv2.dnn.readNetFromONNX(str(self.path), *options)
        except cv2.error as error:
            refuse(f"{self.path}: OpenCV cannot read it as an ONNX model: {error}")
        if (backend, target) != (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_TARGET_CPU):
            self.net.setPreferableBackend(backend)
            self.net.setPreferableTarget(target)
        self.layers = list(self.net.getLayerNames())
        settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
        self.title = f"OpenCV {cv2.__version__} ({settings})"
        self.warm: set[tuple[int, ...]] = set()

    def run(self, blob: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the output for a blob, and the milliseconds of the forward pass.

        The first blob of a shape runs twice, as OpenCV allocates memory the first time.
        """
        try:
            if blob.shape not in self.warm:
                self.net.setInput(blob)
                self.net.forward()
                self.warm.add(blob.shape)
            began = time.perf_counter()
            self.net.setInput(blob)
            output = self.net.forward()
            time_ms = 1e3 * (time.perf_counter() - began)
        except cv2.error as error:
            refuse(f"{self.path}: OpenCV cannot run it on a blob of {blob.shape}: {error}")
        if not isinstance(output, np.ndarray):
            refuse(f"{self.path}: OpenCV returns {output!r}; expected an array")
        if not np.isfinite(output).all():
            print("warning: the output holds NaN or infinity", file=sys.stderr)
        return output, time_ms


def constant(flag: str, name: str) -> int | None:
    """Return OpenCV's constant of a name; None for the only engine of OpenCV 4."""
    prefix = {"engine": "ENGINE_", "backend": "DNN_BACKEND_", "target": "DNN_TARGET_"}[flag]
    names = {
        key[len(prefix) :].lower(): getattr(cv2.dnn, key)
        for key in dir(cv2.dnn)
        if key.startswith(prefix)
    }
    names = names or {"auto": None, "classic": None}
    if name not in names:
        expected = ", ".join(sorted(names))
        refuse(f"--{flag}: found {name!r}; OpenCV {cv2.__version__} has {expected}")
    return names[name]


# Images, videos and cameras


def frames(source: str) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield the images that `--input` stands for: name, pixels, uint8 (H, W, 3), BGR, and for a
    video or camera the frames per second, else 0."""
    path = Path(source)
    check_name(path)
    if source.isdecimal() and not path.exists():
        yield from stream(f"camera-{source}", int(source))
    elif path.is_dir():
        images = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_FILES)
        if not images:
            refuse(f"{path}: the folder holds no image ({', '.join(sorted(IMAGE_FILES))})")
        stems = [image.stem for image in images]
        for image in images:
            yield image.stem if stems.count(image.stem) == 1 else image.name, read_image(image), 0
    elif not path.stat().st_size:
        refuse(f"{path}: the file is empty")
    elif path.suffix.lower() in IMAGE_FILES or cv2.haveImageReader(source):
        yield path.stem, read_image(path), 0
    else:
        yield from stream(path.stem, source)


def check_name(path: Path) -> None:
    """Refuse a name that is not UTF-8: OpenCV would abort the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        refuse(f"{str(path)!a}: the name is not UTF-8")


def read_image(path: Path) -> np.ndarray:
    """Decode an image file into uint8 (H, W, 3), BGR."""
    check_name(path)
    data = path.read_bytes()
    is_jpeg, is_png = data.startswith(b"\xff\xd8"), data.startswith(b"\x89PNG")
    is_jpeg_cut = is_jpeg and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if is_jpeg_cut or (is_png and b"IEND" not in data[-64:]):
        refuse(f"{path}: the image is cut off, its end is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        refuse(f"{path}: OpenCV refuses the image: {error}")
    if image is None:
        refuse(f"{path}: not an image that OpenCV can read")
    return image


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
        try:
            names = json.loads(model.metadata.get("classes", ""))
        except ValueError:  # no entry, or one of another program's
            names = []
        self.names = list(map(str, names)) if isinstance(names, list) else []
        if classes:
            self.names = class_lines(classes)

    def name(self, index: int) -> str:
        return self.names[index] if self.names else f"class {index}"

    def check_count(self, outputs: int) -> None:
        if self.names and len(self.names) != outputs:
            refuse(f"--classes: found {len(self.names)} classes; the model has {outputs} outputs")


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
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        refuse(f"{path}: not a text file in UTF-8")
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        found = "a blank line" if lines else "no class"
        refuse(f"{path}: found {found}; expected one class per line")
    return lines


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


def check_target(path: Path, source: str) -> None:
    """Create the folder of a file to write; refuses to overwrite the input `source`."""
    inputs = [Path(source), Path(source) / path.name]
    try:
        if path.exists() and path.resolve() in [entry.resolve() for entry in inputs]:
            refuse(f"{path}: is the input itself; expected another name")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"{path}: cannot be written: {error.strerror}")


@contextmanager
def new_file(path: Path, source: str) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` on success, and removed on an error."""
    check_target(path, source)
    partial = path.with_name(f".{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        refuse(f"{path}: cannot be written: {error.strerror}")
    finally:
        if partial.exists():
            partial.unlink()


class Viewer:
    """Writes pictures, or frames as a video, and shows them in a window if `title` names one."""

    def __init__(self, folder: Path, source: str, title: str | None) -> None:
        self.folder, self.source = folder, source
        self.window = title if title and has_display() else None
        self.note = " (there is no display to show it on)" if title and not self.window else ""
        self.video: tuple[Path, cv2.VideoWriter] | None = None

    def add(self, name: str, picture: np.ndarray, per_second: float) -> bool:
        """Write a picture or frame, or show it; return False when the user has seen enough."""
        if per_second and self.window:
            return self.show(picture, wait=False)
        if per_second:
            self.write_frame(self.folder / f"{name}.avi", picture, per_second)
            return True
        path = self.folder / f"{name}.png"
        with new_file(path, self.source) as partial:
            if not cv2.imwrite(str(partial), picture):
                refuse(f"{path}: cannot be written")
        print(f"picture: {path}{self.note}")
        return not self.window or self.show(picture, wait=True)

    def write_frame(self, path: Path, picture: np.ndarray, per_second: float) -> None:
        if self.video is None:
            check_target(path, self.source)
            size, code = picture.shape[1::-1], cv2.VideoWriter.fourcc(*"MJPG")
            self.video = path, cv2.VideoWriter(str(path), code, per_second, size)
            if not self.video[1].isOpened():
                refuse(f"{path}: cannot be written")
        self.video[1].write(picture)

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

    def close(self) -> None:
        """Finish the video, if there is one."""
        if self.video and self.video[1].isOpened():
            self.video[1].release()
            print(f"video: {self.video[0]}{self.note}")


def has_display() -> bool:
    """Return whether OpenCV can open a window. Another process tries: a failure would abort it."""
    probe = [sys.executable, "-c", "import cv2; cv2.namedWindow('probe')"]
    return subprocess.run(probe, capture_output=True).returncode == 0


if __name__ == "__main__":
    run()
