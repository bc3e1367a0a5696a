"""Decode an image file as PIL does, resize and crop it, and normalise images to a blob."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from parity.core.cli import InputError
from parity.core.files import read_regular
from parity.core.params import CropParams, Exif, ResizeParams
from parity.preprocessing.decoder import DamagedImage, decode, why_unreadable

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
# A small file may claim more pixels than fit into memory. Cameras end near 100 million; this many
# take 400 MB in each process that decodes.
MAX_PIXELS = 2**27
MAX_BYTES = 2**30  # MAX_PIXELS of four 16-bit channels
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which only warns up to twice its value
# Pillow knows others, some of which start a program.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "SUN", "TIFF", "WEBP")
WITH_WARNINGS = ("JPEG", "MPO", "PNG")  # formats that `decode` reads
# Modes that it decodes as Pillow does. CMYK differs by up to 2 of 255: OpenCV rounds otherwise, and
# the device, which has OpenCV alone, cannot do as Pillow does.
DECODED = ("1", "CMYK", "L", "LA", "P", "RGB", "RGBA")
ORIENTATION = 0x0112  # EXIF's tag


def read_image(path: Path, exif: Exif = "ignore") -> np.ndarray:
    """Decode an image file into uint8 (H, W, 3): the pixels of PIL's `convert("RGB")`, but for a
    JPEG in CMYK, whose pixels are OpenCV's.

    With `exif: apply` the image is turned as by PIL's `exif_transpose`. Raises InputError when the
    file is missing, empty, damaged or not an image, or has too many pixels.
    """
    data = read_bytes(path)
    image = _open(path, data)
    try:
        pixels = decode(data) if image.format in WITH_WARNINGS else None
        if pixels is None or image.mode not in DECODED:
            pixels = _load(image.convert, "RGB")
        return _turned(pixels, image) if exif == "apply" else pixels
    except DamagedImage as damage:
        raise InputError(f"{path}: {damage}") from None


def read_mask(path: Path, classes: int, ignored: int, exif: Exif = "ignore") -> np.ndarray:
    """Decode a mask of class ids, a palette or grey PNG, into uint8 (H, W).

    With `exif: apply` it is turned as its own file says. Raises InputError when it is missing,
    empty, damaged, in colour, has too many pixels, or holds a value that is neither below `classes`
    nor `ignored`.
    """
    data = read_bytes(path)
    image = _open(path, data)
    if image.mode not in ("P", "L"):
        wanted = "expected a palette (P) or grey (L) image of class ids"
        raise InputError(f"{path}: found an image of mode {image.mode}; {wanted}")
    try:
        if image.format in WITH_WARNINGS:
            decode(data, cv2.IMREAD_GRAYSCALE)  # a palette's indices are only in Pillow's pixels
        mask = _load(np.asarray, image)
        mask = _turned(mask, image) if exif == "apply" else mask
    except DamagedImage as damage:
        raise InputError(f"{path}: {damage}") from None
    wrong = mask[(mask >= classes) & (mask != ignored)]
    if wrong.size:
        expected = f"expected 0 to {classes - 1}, or {ignored} for no class"
        raise InputError(f"{path}: found the value {wrong[0]}; {expected}")
    return mask


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raises InputError when it is missing, empty, too large or not a
    regular file."""
    data = read_regular(path, MAX_BYTES)
    if not data:
        raise InputError(f"{path}: the file is empty")
    return data


def _open(path: Path, data: bytes) -> Image.Image:
    """Read an image's header alone; raises InputError when the file is not an image or has too many
    pixels."""
    try:
        image = _quietly(Image.open, io.BytesIO(data), formats=FORMATS)
    except Exception:  # Pillow raises anything for a damaged file
        raise InputError(f"{path}: {why_unreadable(data)}") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        found = f"found {width}x{height} pixels, {width * height} in total"
        raise InputError(f"{path}: {found}; expected at most {MAX_PIXELS}")
    return image


def _load(read: Callable[..., Any], *arguments: Any) -> np.ndarray:
    """Return the pixels that a function of Pillow's reads; raises DamagedImage."""
    try:
        return np.asarray(_quietly(read, *arguments))
    except Exception as error:  # Pillow raises anything for a damaged file
        raise DamagedImage(f"the image is damaged: {_one_line(error)}") from None


def _turned(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Return uint8 (H, W) or (H, W, 3) turned by the orientation in the image's EXIF, 2 to 8.

    Any other, or none that can be read, leaves it as it is. Pillow has turned a TIFF already, whose
    orientation is no EXIF, and has removed the tag.
    """
    try:
        orientation = _quietly(lambda: image.getexif().get(ORIENTATION))
    except Exception as error:  # Pillow raises anything for a damaged file
        raise DamagedImage(f"its EXIF data cannot be read: {_one_line(error)}") from None
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _quietly(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function of Pillow's without its warnings, which are about metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **named)


def check_resized(path: Path, image: np.ndarray, size: CropParams | ResizeParams) -> None:
    """Raise InputError when an image, far longer than wide, would be resized to too many pixels."""
    height, width = _resized_sides(image, size)
    if height * width > MAX_PIXELS:
        found = f"found {image.shape[1]}x{image.shape[0]} pixels, resized {width}x{height}"
        raise InputError(f"{path}: {found}; expected at most {MAX_PIXELS} in total")


def resize_shorter(image: np.ndarray, size: ResizeParams, mask: bool = False) -> np.ndarray:
    """Resize uint8 (H, W, 3), or a mask (H, W) of class ids, to a shorter side of `size.resize`.

    Lengths are rounded as in torchvision's `Resize`; class ids are never interpolated.
    """
    height, width = _resized_sides(image, size)
    if mask:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
    return _resize(image, width, height, size)


def resize_and_crop(image: np.ndarray, size: CropParams) -> np.ndarray:
    """Resize uint8 (H, W, 3) and crop its centre: uint8 (crop, crop, 3).

    Lengths and offsets are rounded as in torchvision's `Resize` and `CenterCrop`.
    """
    height, width = _resized_sides(image, size)
    image = _resize(image, width, height, size)
    top = round((height - size.crop) / 2)
    left = round((width - size.crop) / 2)
    return image[top : top + size.crop, left : left + size.crop]


def _resized_sides(image: np.ndarray, size: CropParams | ResizeParams) -> tuple[int, int]:
    """Return the height and width of an image after resizing."""
    if isinstance(size, CropParams) and not size.keep_aspect:
        return size.resize, size.resize
    height, width = image.shape[:2]
    shorter = min(height, width)
    return int(size.resize * height / shorter), int(size.resize * width / shorter)


def _resize(image: np.ndarray, width: int, height: int, size: CropParams | ResizeParams):
    """Resize; with `antialias`, average areas when the image shrinks.

    PIL, and so torchvision, widens its filter by the factor of shrinking. OpenCV's linear and cubic
    filters stay narrow and skip pixels; of OpenCV's filters `area` is closest to PIL.
    """
    shrinks = height < image.shape[0] and width < image.shape[1]
    name = "area" if size.antialias and shrinks else size.interpolation
    return cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[name])


def normalize(
    images: np.ndarray, mean: list[float], std: list[float], out: np.ndarray | None = None
) -> np.ndarray:
    """Return (x/255 - mean)/std of uint8 (N, H, W, 3): the blob, float32 (N, 3, H, W).

    A byte has 256 values, so each channel is looked up in a table that is computed in float64 and
    rounded once. An earlier call's blob, passed as `out`, is overwritten if it is large enough:
    allocating memory costs as much as the computation.
    """
    values = np.arange(256)[:, None] / 255
    table = ((values - np.array(mean)) / np.array(std)).astype(np.float32)[None]
    shape = (len(images), 3, *images.shape[1:3])
    if out is None or out.shape[1:] != shape[1:] or len(out) < len(images):
        out = np.empty(shape, np.float32)
    blob = out[: len(images)]
    for image, planes in zip(images, blob, strict=True):
        cv2.split(cv2.LUT(image, table), mv=list(planes))
    return blob
