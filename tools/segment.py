"""Segment images with a converted model, with OpenCV and NumPy alone.

Stands alone: copied next to an ONNX file it runs without the rest of this project. The packages
onnx and yaml are used where they are there, for the model's metadata and for params.yaml.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np

TASK = "segmentation"
# Of params.yaml: the preprocessing where neither flags nor a file tell another.
PROFILE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": None}
LEGEND_CLASSES = 32  # of more, the legend names those found alone


@dataclass(frozen=True)
class Classes:
    """The names of the classes in the order of their ids, none where nobody tells them, and their
    colours, uint8 (256, 3), BGR."""

    names: list[str]
    colors: np.ndarray

    def name_of(self, index: int) -> str:
        return self.names[index] if self.names else f"class {index}"


def read_classes(path: Path | None, metadata: dict[str, str]) -> Classes:
    """The names of a file of lines `name` or, with their colours, `name r g b`."""
    names, colors = names_of(metadata), voc_colors()
    if path:
        names = class_lines(path)
        parts = [line.rsplit(maxsplit=3) for line in names]
        if all(len(part) == 4 and all(is_byte(value) for value in part[1:]) for part in parts):
            names = [part[0] for part in parts]
            colors[: len(names)] = [[int(value) for value in part[:0:-1]] for part in parts[:256]]
    return Classes(names, colors)


def is_byte(text: str) -> bool:
    return text.isdecimal() and int(text) < 256


def voc_colors() -> np.ndarray:
    """The colours of Pascal VOC's development kit, uint8 (256, 3), BGR: the bits of a class id are
    dealt out to red, green and blue in turn, the lowest to a colour's highest."""
    ids = np.arange(256)[:, None]
    colors = np.zeros((256, 3), np.int64)
    for bit in range(8):
        colors |= (ids >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return colors[:, ::-1].astype(np.uint8)


def decide(output: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the mask of class ids, uint8 (H, W), of an output of shape (1, C, H, W)."""
    if output.ndim != 4 or not 2 <= output.shape[1] <= 256:
        expected = "expected (1, 2 to 256 classes, height, width)"
        refuse(f"the model's output is {output.shape}; {expected}")
    check_length(classes.names, output.shape[1])
    return output[0].argmax(axis=0).astype(np.uint8)


def shares(mask: np.ndarray) -> dict[int, float]:
    """The percentage of the pixels of each class that was found, the largest first."""
    counts = np.bincount(mask.reshape(-1))
    found = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return {int(index): 100 * counts[index] / mask.size for index in found}


def percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


def report(mask: np.ndarray, classes: Classes) -> list[str]:
    """The classes found as a table: id, name, share of the pixels."""
    found = shares(mask)
    width = max(len(classes.name_of(index)) for index in found)
    return [f"class  {'name':{width}}  pixels"] + [
        f"{index:5}  {classes.name_of(index):{width}}  {share:6.2f} %"
        for index, share in found.items()
    ]


def summarise(mask: np.ndarray, classes: Classes) -> str:
    """The classes found in a line."""
    found = shares(mask).items()
    return ", ".join(f"{classes.name_of(index)} {percent(share)}" for index, share in found)


def draw(
    image: np.ndarray, mask: np.ndarray, classes: Classes, time_ms: float, kind: str
) -> np.ndarray:
    """The image, uint8 (H, W, 3), BGR, under the mask's colours, with time and legend."""
    colored = cv2.addWeighted(image, 0.5, color_mask(mask, classes, image.shape), 0.5, 0)
    picture = fit_canvas(colored)
    put_corner(picture, [f"{time_ms:.1f} ms"])
    found = shares(mask)
    # The frames of a video have one height: its legend cannot follow what is found.
    shown = always_listed(classes) or (sorted(found) if kind == STILL else [])
    rows = legend(shown, found, classes, picture.shape[1], line_height(picture.shape))
    return cv2.vconcat([picture, *rows])


def always_listed(classes: Classes) -> Sequence[int]:
    """The ids of all classes, or of none where they are too many for a legend."""
    return range(len(classes.names)) if len(classes.names) <= LEGEND_CLASSES else []


def color_mask(mask: np.ndarray, classes: Classes, shape: Sequence[int]) -> np.ndarray:
    """A mask in its colours, uint8 (H, W, 3), BGR, of the image's height and width."""
    size = (shape[1], shape[0])
    return classes.colors[cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)]


def legend(
    shown: Sequence[int], found: dict[int, float], classes: Classes, width: int, line: int
) -> list[np.ndarray]:
    """Rows of colours and names, `width` pixels wide with text of `line` pixels: with the share of
    the pixels where a class was found, paler where not."""
    names = [shorten(classes.name_of(index), width - 6 * line, line) for index in shown]
    cells = [text_width(f"{name} 100.0 %", line) + 2 * line for name in names]
    columns = max(1, width // max(cells, default=width))
    rows = []
    for start in range(0, len(names), columns):
        row = np.full((line + line // 3, width, 3), DARK, np.uint8)
        for column, index in enumerate(shown[start : start + columns]):
            x, pad = column * width // columns + line // 3, line // 3
            box = row[pad // 2 : pad // 2 + line, x : x + line]
            box[:] = GREY
            box[1:-1, 1:-1] = classes.colors[index]
            share = f" {percent(found[index])}" if index in found else ""
            color = WHITE if index in found else GREY
            put_text(row, names[start + column] + share, x + line + pad, pad // 2, line, color)
        rows.append(row)
    return rows


# --------------------------------------------------------------------------------------------------
# From here on run_onnx.py and segment.py are the same, since each must run when it is copied alone.
# tests/tools/test_run_onnx.py compares them.
# --------------------------------------------------------------------------------------------------

PARAMS = Path("params.yaml")
STILL, STREAM = "still", "stream"
IMAGE_FILES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
ESCAPE, QUIT = 27, ord("q")
MODIFIERS = range(0xE1, 0xEF)  # Shift, Alt, ...: the last byte of X11's codes
MIN_SIDE, MIN_HEIGHT, MIN_TEXT = 320, 96, 22  # pixels
MAX_SIDE = 2**15 - 1  # pixels
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, GREY, DARK = (255, 255, 255), (150, 150, 150), (32, 32, 32)  # BGR


def refuse(message: str) -> NoReturn:
    """End with exit code 2 and one line on stderr: what was found, and what was expected."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose refusal is one line."""

    def error(self, message: str) -> NoReturn:
        refuse(f"{message} (--help explains the flags)")


def parse_flags(description: str | None, argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; what it does not give is None."""
    resize, size = PROFILE["size"] or (0, 0)
    mean = " ".join(f"{255 * value:.7g}" for value in PROFILE["mean"])
    std = " ".join(f"{value:g}" for value in PROFILE["std"])
    channels = {"type": float, "nargs": 3, "metavar": ("R", "G", "B")}
    pixels = {"type": int, "metavar": "PIXELS"}
    switch = argparse.BooleanOptionalAction
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="the ONNX file")
    add(
        "--input",
        required=True,
        help="an image, a folder of images, a video file, or the index of a camera, such as 0",
    )
    add(
        "--classes",
        type=Path,
        help="the names of the classes, one a line in the order of their"
        " ids, for a segmentation `name` or `name r g b`; default: the model's metadata",
    )
    add(
        "--output",
        type=Path,
        default=Path("plots/demo"),
        help="the folder for pictures, and for"
        " the video (MJPG) of a video or camera; default: %(default)s",
    )
    add(
        "--show",
        action="store_true",
        help="show them in a window, where any key goes on and q or"
        " Esc ends; a video or camera is then not written",
    )
    add("--verbose", action="store_true", help="print the names of the layers that OpenCV read")

    add = parser.add_argument_group(
        "from an image to the blob",
        "blob = (image, resized and cropped, - mean) * scale / std. What is not given is taken\n"
        "from the model's metadata (with the package onnx), else from params.yaml in this folder\n"
        "(with the package yaml), else it is the default that stands here.",
    ).add_argument
    add("--scale", type=float, help="factor of the values, 0 to 255, less mean; default: 1/255")
    add("--mean", **channels, help=f"in units of the image, 0 to 255; default: {mean}")
    add("--std", **channels, help=f"in units of the scaled values, 0 to 1; default: {std}")
    add(
        "--rgb",
        action=switch,
        help="the blob's channels are red, green, blue; with --no-rgb blue,"
        " green, red; default: --rgb",
    )
    add("--rsz-height", **pixels, help=f"resize to this height first; 0: do not; default: {resize}")
    add("--rsz-width", **pixels, help=f"and to this width; default: {resize}")
    add("--height", **pixels, help=f"of the blob; 0: as the image then is; default: {size}")
    add("--width", **pixels, help=f"of the blob; 0: as the image then is; default: {size}")
    add(
        "--crop",
        action=switch,
        help="--crop resizes until the shorter side fits height and width"
        " and cuts out the centre, --no-crop ignores the aspect. Of an image resized to a square"
        " first (256x256) either makes a smaller one of the whole (224x224), whereas the pipeline's"
        f" evaluation cuts out the centre; default: --{'' if size else 'no-'}crop",
    )

    add = parser.add_argument_group(
        "OpenCV", "What is not given is taken from params.yaml in this folder, else the default."
    ).add_argument
    add("--engine", help="cv2.dnn.ENGINE_*: auto, classic, new; default: auto")
    add("--backend", help="cv2.dnn.DNN_BACKEND_*: default, opencv, cuda, ...; default: default")
    add("--target", help="cv2.dnn.DNN_TARGET_*: cpu, opencl, cuda, ...; default: cpu")
    return parser.parse_args(argv)


def read_model(path: Path) -> tuple[dict[str, str], tuple[int, int] | None]:
    """Return an ONNX file's metadata, and the height and width of its input if they are fixed.

    Nothing is known without the package onnx. The model is refused when it takes anything else
    than one batch of images: OpenCV does not check that.
    """
    check_name(path)
    if not path.is_file():
        refuse(f"{path}: no such file")
    try:
        import onnx
    except ImportError:
        return {}, None
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # of protobuf, which is no dependency of this script
        refuse(f"{path}: not an ONNX model, or not the whole of one: {error}")
    if not model.graph.node:
        refuse(f"{path}: not an ONNX model, it holds no network")
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    shapes = [
        [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
        for tensor in (value.type.tensor_type for value in inputs)
    ]
    fits = [
        len(shape) == 4
        and shape[0] in (None, 1)
        and shape[1] in (None, 3)
        and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        for value, shape in zip(inputs, shapes, strict=True)
    ]
    if fits != [True]:
        found = ", ".join(
            f"{value.name} ({' x '.join(str(side or '?') for side in shape)})"
            for value, shape in zip(inputs, shapes, strict=True)
        )
        expected = "expected one of float32 images (1 x 3 x height x width)"
        refuse(f"{path}: found the inputs {found or 'none'}; {expected}")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if metadata.get("task", TASK) != TASK:
        refuse(f"{path}: made for {metadata['task']}; this script is for {TASK}")
    height, width = shapes[0][2:]
    return metadata, (height, width) if height and width else None


def read_params() -> dict:
    """The content of params.yaml in this folder; empty without it or without the package yaml."""
    try:
        import yaml
    except ImportError:
        return {}
    try:
        content = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        refuse(f"{PARAMS}: cannot be read as YAML: {error}")
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a blob. `mean` and `std` are of red, green and blue: `mean` in units of
    the image, 0 to 255, `std` in those of the scaled values. `resize` and `size` are (height,
    width) in pixels, None for as it is. `source` says where all that comes from."""

    scale: float
    mean: Sequence[float]
    std: Sequence[float]
    rgb: bool
    resize: tuple[int, int] | None
    size: tuple[int, int] | None
    crop: bool
    source: str

    def flags(self) -> str:
        """The same as flags of this script."""
        (resize_height, resize_width), (height, width) = self.resize or (0, 0), self.size or (0, 0)
        mean, std = (" ".join(f"{value:.8g}" for value in row) for row in (self.mean, self.std))
        return (
            f"--scale {self.scale:.8g} --mean {mean} --std {std} --{'' if self.rgb else 'no-'}rgb "
            f"--rsz-height {resize_height} --rsz-width {resize_width} --height {height} "
            f"--width {width} --{'' if self.crop else 'no-'}crop"
        )


def preprocessing(
    args: argparse.Namespace, metadata: dict[str, str], fixed: tuple[int, int] | None, params: dict
) -> Preprocessing:
    """Put together what the flags, the model and params.yaml say; refuses what makes no sense."""
    profile, source = find_profile(args.model, metadata, params)
    try:
        resize = size = None
        written = profile["size"] if isinstance(profile["size"], dict) else {}
        if "crop" in written:
            resize, size = ((int(written[key]),) * 2 for key in ("resize", "crop"))
        if written.get("keep_aspect"):
            resize = None  # to a square it would not be kept
        scale = float(profile.get("scale", 1 / 255))
        mean = [float(value) / scale for value in profile["mean"]]
        std = [float(value) for value in profile["std"]]
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        refuse(f"{source}: not a preprocessing: {type(error).__name__} {error}")
    if fixed and fixed != size:
        resize, size = None, fixed
    beyond = [
        f"{key} {value}"
        for key, value in written.items()
        if key not in ("resize", "crop", "keep_aspect") and value not in (False, "linear")
    ] + ([f"resize {written['resize']}"] if "resize" in written and not resize else [])
    if beyond:
        source += f", but {', '.join(beyond)}: flags have no word for it"
    given = {
        "resize": both(args.rsz_height, args.rsz_width, "--rsz-height and --rsz-width", resize),
        "size": both(args.height, args.width, "--height and --width", size),
        "scale": scale if args.scale is None else args.scale,
        "mean": args.mean or mean,
        "std": args.std or std,
        "rgb": profile.get("color", "RGB") == "RGB" if args.rgb is None else args.rgb,
        "crop": bool(PROFILE["size"]) if args.crop is None else args.crop,
    }
    flags = (args.rsz_height, args.height, args.scale, args.mean, args.std, args.rgb, args.crop)
    if any(flag is not None for flag in flags):
        source = f"flags, then {source}"
    if fixed and given["size"] not in (None, fixed):
        found = "--height and --width: found {} and {}".format(*given["size"])
        refuse(f"{found}; the input of {args.model} has {fixed[0]} and {fixed[1]}")
    for name, is_right, expected in (
        ("mean", math.isfinite, "three numbers"),
        ("std", lambda value: 0 < value < math.inf, "three numbers above 0"),
    ):
        if len(given[name]) != 3 or not all(map(is_right, given[name])):
            where = f"--{name}" if getattr(args, name) else f"{source}: {name}"
            refuse(f"{where}: found {list(given[name])}; expected {expected}")
    if not math.isfinite(given["scale"]) or not given["scale"]:
        refuse(f"--scale: found {given['scale']}; expected a number other than 0")
    return Preprocessing(**given, source=source)


def find_profile(model: Path, metadata: dict[str, str], params: dict) -> tuple[dict, str]:
    """The preprocessing of the model's metadata, of params.yaml, or PROFILE; and whose it is."""
    try:
        profile = json.loads(metadata.get("preprocess", ""))
    except ValueError:  # no entry, or one of another program's
        profile = None
    if isinstance(profile, dict) and {"mean", "std"} <= profile.keys():
        return profile, f"metadata of {model}"
    profiles = section(params, "preprocess")
    known = {name: section(profiles, name) for name in profiles}
    names = [
        name
        for name, profile in known.items()
        if profile.get("task") == TASK and "from_weights" not in profile  # torchvision resolves it
    ]
    for name in (section(params, "models", model.parent.name).get("preprocess"), *names):
        if name in names:
            return profiles[name], f"{PARAMS}: preprocess.{name}"
    size = PROFILE["size"] and dict(zip(("resize", "crop"), PROFILE["size"], strict=True))
    return PROFILE | {"size": size}, "ImageNet's constants"


def section(content: object, *keys: str) -> dict:
    """The mapping below some keys; empty where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def both(
    height: int | None, width: int | None, names: str, default: tuple[int, int] | None
) -> tuple[int, int] | None:
    """(height, width) of two flags, None for zeros; the default where neither is given."""
    if height is None and width is None:
        height, width = default or (0, 0)
    if (height, width) == (0, 0):
        return None
    if height is None or width is None or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        expected = f"expected two numbers of pixels, 1 to {MAX_SIDE}, or 0 and 0"
        refuse(f"{names}: found {height} and {width}; {expected}")
    return height, width


def blob_of(image: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Turn an image, uint8 (H, W, 3), BGR, into the blob, float32 (1, 3, height, width).

    `cv2.dnn.blobFromImage` knows no std; with a scale factor a channel it is done in one go.
    """
    image = image.astype(np.float32)
    if how.resize:
        image = cv2.resize(image, how.resize[::-1])
    height, width = how.size or image.shape[:2]
    channels = 1 if how.rgb else -1
    params = cv2.dnn.Image2BlobParams()
    params.scalefactor = [*(how.scale / value for value in how.std[::channels]), 0]
    params.mean = [*how.mean[::channels], 0]
    params.size = (width, height)
    params.swapRB = how.rgb
    params.ddepth = cv2.CV_32F
    params.paddingmode = cv2.dnn.DNN_PMODE_CROP_CENTER if how.crop else cv2.dnn.DNN_PMODE_NULL
    return cv2.dnn.blobFromImageWithParams(image, params)


def seen_part(image: np.ndarray, how: Preprocessing) -> np.ndarray:
    """What of an image, (H, W, 3), reaches the blob: where it is cropped, the centre."""
    if not (how.crop and how.size):
        return image
    height, width = how.resize or image.shape[:2]
    enlarged = max(how.size[0] / height, how.size[1] / width)
    rows, columns = (
        max(1, round(side * part / (enlarged * whole)))
        for side, part, whole in zip(image.shape[:2], how.size, (height, width), strict=True)
    )
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    return image[top : top + rows, left : left + columns]


class Network:
    """A model in OpenCV: `layers` are the names of those that it read, `title` names the rest."""

    def __init__(self, path: Path, args: argparse.Namespace, params: dict) -> None:
        chosen = {"engine": "auto", "backend": "default", "target": "cpu"}
        for name, default in chosen.items():
            found = getattr(args, name) or section(params, "opencv").get(name) or default
            chosen[name] = str(found)
        engine = constant("engine", chosen["engine"])
        backend = constant("backend", chosen["backend"])
        target = constant("target", chosen["target"])
        if target not in cv2.dnn.getAvailableTargets(backend or cv2.dnn.DNN_BACKEND_OPENCV):
            # OpenCV would fall back to the CPU and only warn.
            there = f"OpenCV {cv2.__version__} has not got it for --backend {chosen['backend']}"
            refuse(f"--target: found {chosen['target']!r}; this {there}")
        try:
            with quiet():
                options = [] if engine is None else [engine]
                self.net = cv2.dnn.readNetFromONNX(str(path), *options)
        except cv2.error as error:
            refuse(f"{path}: OpenCV cannot read it as an ONNX model: {error}")
        if (backend, target) != (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_TARGET_CPU):
            self.net.setPreferableBackend(backend)
            self.net.setPreferableTarget(target)
        self.path = path
        self.layers = list(self.net.getLayerNames())
        settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
        self.title = f"OpenCV {cv2.__version__} ({settings})"
        self.warm: set[tuple[int, ...]] = set()

    def run(self, blob: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the output for a blob, and the milliseconds of the forward pass.

        The first blob of a shape goes through twice: the first time OpenCV also allocates.
        """
        try:
            with quiet():
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
        if not np.isfinite(output).all():
            print("warning: the output holds NaN or infinity", file=sys.stderr)
        return output, time_ms


@contextmanager
def quiet() -> Iterator[None]:
    """Keep off the terminal what OpenCV logs before it raises an error that says the same."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 and 4
    level = logging.getLogLevel()
    logging.setLogLevel(0)  # LOG_LEVEL_SILENT
    try:
        yield
    finally:
        logging.setLogLevel(level)


def constant(flag: str, name: str) -> int | None:
    """OpenCV's constant of a name; None for the engine where this OpenCV has only one."""
    prefix = {"engine": "ENGINE_", "backend": "DNN_BACKEND_", "target": "DNN_TARGET_"}[flag]
    names = {
        key.removeprefix(prefix).lower(): getattr(cv2.dnn, key)
        for key in dir(cv2.dnn)
        if key.startswith(prefix)
    }
    if not names and name == "auto":
        return None
    if name not in names:
        expected = ", ".join(sorted(names)) or "auto"
        refuse(f"--{flag}: found {name!r}; OpenCV {cv2.__version__} has {expected}")
    return names[name]


def frames(source: str) -> Iterator[tuple[str, str, np.ndarray, float]]:
    """Yield the name, STILL or STREAM, the image, uint8 (H, W, 3), BGR, and the frames a second of
    all that `--input` stands for."""
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
            name = image.stem if stems.count(image.stem) == 1 else image.name
            yield name, STILL, read_image(image), 0
    elif not path.is_file():
        refuse(f"{path}: no such file")
    elif not path.stat().st_size:
        refuse(f"{path}: the file is empty")
    elif path.suffix.lower() in IMAGE_FILES or cv2.haveImageReader(source):
        yield path.stem, STILL, read_image(path), 0
    else:
        yield from stream(path.stem, source)


def check_name(path: Path) -> None:
    """Refuse a name that is not UTF-8: OpenCV would end the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        refuse(f"{str(path)!a}: the name is not UTF-8")


def read_image(path: Path) -> np.ndarray:
    """Decode an image file into uint8 (H, W, 3), BGR."""
    check_name(path)
    try:
        data = path.read_bytes()
        is_jpeg, is_png = data.startswith(b"\xff\xd8"), data.startswith(b"\x89PNG")
        if (is_jpeg and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")) or (
            is_png and b"IEND" not in data[-64:]
        ):
            refuse(f"{path}: the image is cut off, its end is missing")
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except OSError as error:
        refuse(f"{path}: {(error.strerror or str(error)).lower()}")
    except cv2.error as error:
        refuse(f"{path}: OpenCV refuses the image: {error}")
    if image is None:
        refuse(f"{path}: not an image that OpenCV can read")
    return image


def stream(name: str, source: str | int) -> Iterator[tuple[str, str, np.ndarray, float]]:
    """The frames of a video file, or of a camera until the caller has enough."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it logs past OpenCV
    with quiet():
        capture = cv2.VideoCapture(source)
        there, image = capture.read()
    if not there and isinstance(source, int):
        refuse(f"--input {source}: there is no such camera, or no such file")
    if not there:
        refuse(f"{source}: neither an image nor a video that OpenCV can read")
    per_second = capture.get(cv2.CAP_PROP_FPS)
    while there:
        yield name, STREAM, image, per_second if 0 < per_second < 1000 else 25
        there, image = capture.read()


class Viewer:
    """Writes pictures, or shows them; a video where they are frames of one."""

    def __init__(self, folder: Path, show: bool, source: str | None = None) -> None:
        self.folder = folder
        self.source = Path(source) if source else None
        self.window = TASK if show and has_display() else ""
        self.note = " (there is no display to show it on)" if show and not self.window else ""
        self.video: cv2.VideoWriter | None = None
        self.video_path = self.video_partial = folder

    def picture(self, name: str, picture: np.ndarray) -> bool:
        """Write a picture, and show it until a key is pressed; False when that one ends it all."""
        path = self.folder / f"{name}.png"
        partial = self.partial(path)
        try:
            if not cv2.imwrite(str(partial), picture):
                refuse(f"{path}: cannot be written")
            rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        print(f"picture: {path}{self.note}")
        return not self.window or self.show(picture, forever=True)

    def frame(self, name: str, picture: np.ndarray, per_second: float) -> bool:
        """Show a frame, or add it to the video; False when the user wants no more."""
        if self.window:
            return self.show(picture, forever=False)
        if self.video is None:
            self.video_path = self.folder / f"{name}.avi"
            self.video_partial = self.partial(self.video_path)
            size, code = picture.shape[1::-1], cv2.VideoWriter.fourcc(*"MJPG")
            video = cv2.VideoWriter(str(self.video_partial), code, per_second, size)
            if not video.isOpened():
                refuse(f"{self.video_path}: cannot be written")
            self.video = video
        self.video.write(picture)
        return True

    def partial(self, path: Path) -> Path:
        """A name beside a file, to write to first; refuses to write over the input."""
        inputs = [self.source, self.source / path.name] if self.source else []
        try:
            if path.exists() and path.resolve() in [there.resolve() for there in inputs]:
                refuse(f"{path}: is the input itself; expected another --output")
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            refuse(f"{path}: cannot be written: {error.strerror}")
        return path.with_name(f".{os.getpid()}.partial{path.suffix}")

    def show(self, picture: np.ndarray, forever: bool) -> bool:
        if not self.is_open():
            cv2.namedWindow(self.window, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        height, width = picture.shape[:2]
        share = min(1, 1280 / width, 800 / height)
        cv2.resizeWindow(self.window, round(width * share), round(height * share))
        cv2.imshow(self.window, picture)
        while True:
            # In short steps, so that Ctrl-C and a closed window are noticed.
            key = cv2.waitKey(20 if forever else 1)
            closed = not self.is_open()
            if key in (ESCAPE, QUIT) or (closed and not forever):
                return False
            if (key >= 0 and key not in MODIFIERS) or closed or not forever:
                return True

    def is_open(self) -> bool:
        """Whether the window is there, and the user has not closed it."""
        try:
            return cv2.getWindowProperty(self.window, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # how Qt says that there is no window at all
            return False

    def close(self) -> None:
        if self.video is not None:
            self.video.release()
            rename(self.video_partial, self.video_path)
            print(f"video: {self.video_path}{self.note}")


def rename(partial: Path, path: Path) -> None:
    """Give a file that is whole its name; where that cannot be, remove it and refuse."""
    try:
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        refuse(f"{path}: cannot be written: {error.strerror}")


def has_display() -> bool:
    """Whether OpenCV can open a window; another process tries it, as a failure would end it."""
    probe = [sys.executable, "-c", "import cv2; cv2.namedWindow('probe')"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def names_of(metadata: dict[str, str]) -> list[str]:
    """The names of the classes that a model's metadata tell, if any."""
    try:
        names = json.loads(metadata.get("classes", ""))
    except ValueError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def check_length(names: list[str], outputs: int) -> None:
    if names and len(names) != outputs:
        refuse(f"--classes: found {len(names)} classes; the model has {outputs} outputs")


def class_lines(path: Path) -> list[str]:
    """The lines of a classes file: line number is class id."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        refuse(f"{path}: not a text file in UTF-8")
    except OSError as error:
        refuse(f"{path}: {(error.strerror or str(error)).lower()}")
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        refuse(
            f"{path}: found {'a blank line' if lines else 'no class'}; expected one class a line"
        )
    return lines


def fit_canvas(picture: np.ndarray) -> np.ndarray:
    """Enlarge a small picture, uint8 (H, W, 3), by a whole factor, and add a margin to a narrow
    one, so that there is room for text that can be read."""
    factor = -(-MIN_SIDE // max(picture.shape[:2]))
    if factor > 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    height, width = picture.shape[:2]
    margin = max(0, MIN_HEIGHT - height), max(0, MIN_SIDE - width)
    if any(margin):
        edges = (0, margin[0], 0, margin[1])
        picture = cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT, value=DARK)
    return picture


def line_height(shape: Sequence[int]) -> int:
    """The pixels of a line of text, that is legible when a picture is seen as a whole."""
    height, width = shape[:2]
    return int(min(max(MIN_TEXT, math.sqrt(height * width) / 25), height / 4, width / 14))


def text_style(line: int) -> tuple[float, int]:
    """Scale and thickness of OpenCV's font for a line of so many pixels."""
    thickness = max(1, round(line / 18))
    return cv2.getFontScaleFromHeight(FONT, max(1, round(0.56 * line)), thickness), thickness


def text_width(text: str, line: int) -> int:
    scale, thickness = text_style(line)
    return cv2.getTextSize(text, FONT, scale, thickness)[0][0]


def put_text(
    picture: np.ndarray, text: str, x: int, top: int, line: int, color: Sequence[int] = WHITE
) -> None:
    """Write a line of text, `line` pixels high, into the picture; its corner at x, top."""
    scale, thickness = text_style(line)
    foot = (x, top + round(0.76 * line))
    cv2.putText(picture, text, foot, FONT, scale, color, thickness, cv2.LINE_AA)


def shorten(text: str, width: int, line: int) -> str:
    """A text cut so that it takes no more than `width` pixels."""
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
    for number, text in enumerate(lines):
        put_text(picture, text, pad, pad // 2 + number * line, line)


def main(argv: list[str] | None = None) -> None:
    args = parse_flags(__doc__, argv)
    params = read_params()
    metadata, fixed = read_model(args.model)
    how = preprocessing(args, metadata, fixed, params)
    classes = read_classes(args.classes, metadata)
    network = Network(args.model, args, params)
    print(f"{network.title}: {len(network.layers)} layers")
    if args.verbose:
        print(*network.layers, sep="\n")
    print(f"preprocessing ({how.source}): {how.flags()}")
    viewer, count = Viewer(args.output, args.show, args.input), 0
    try:
        for name, kind, image, per_second in frames(args.input):
            output, time_ms = network.run(blob_of(image, how))
            answer = decide(output, classes)
            picture = draw(seen_part(image, how), answer, classes, time_ms, kind)
            count += 1
            if kind == STILL:
                print(f"{name}: output {output.shape}, {time_ms:.1f} ms")
                print(*report(answer, classes), sep="\n")
                goes_on = viewer.picture(name, picture)
            else:
                print(f"frame {count}: {summarise(answer, classes)}, {time_ms:.1f} ms")
                goes_on = viewer.frame(name, picture, per_second)
            if not goes_on:
                break
    finally:
        viewer.close()


def run(main: Callable[[], None]) -> None:
    """Run `main`; neither Ctrl-C nor what OpenCV cannot do ends it with a traceback."""
    try:
        main()
    except cv2.error as error:
        refuse(f"OpenCV: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run(main)
