"""Decode an image file with OpenCV, resize and crop it, and normalise images to a blob."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from parity.core.cli import InputError
from parity.core.files import read_regular
from parity.core.params import CropParams, ResizeParams

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
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG", b"IEND"


def read_image(path: Path) -> np.ndarray:
    """Decode an image file into uint8 (H, W, 3), RGB, as `cv2.imread` does.

    Raises InputError when the file is missing, empty, cut off or not an image, or has too many
    pixels.
    """
    data = read_bytes(path)
    if _is_cut_off(data):
        raise InputError(f"{path}: the image is cut off, its end is missing ({len(data)} bytes)")
    _open(path, data)  # refuses too many pixels before decoding any
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV refuses the image: {error.err}") from None
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_mask(path: Path, classes: int, ignored: int) -> np.ndarray:
    """Decode a mask of class ids, a palette or grey PNG, into uint8 (H, W).

    Raises InputError when it is missing, empty, cut off, in colour, has too many pixels, or holds
    a value that is neither below `classes` nor `ignored`.
    """
    data = read_bytes(path)
    if _is_cut_off(data):
        raise InputError(f"{path}: the mask is cut off, its end is missing")
    image = _open(path, data)
    if image.mode not in ("P", "L"):
        wanted = "expected a palette (P) or grey (L) image of class ids"
        raise InputError(f"{path}: found an image of mode {image.mode}; {wanted}")
    try:
        mask = np.asarray(image)
    except Exception as error:  # Pillow raises anything for a damaged file
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable mask: {reason}") from None
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
        image = Image.open(io.BytesIO(data))
    except Exception:  # Pillow raises anything for a damaged file
        raise InputError(f"{path}: not a readable image") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        found = f"found {width}x{height} pixels, {width * height} in total"
        raise InputError(f"{path}: {found}; expected at most {MAX_PIXELS}")
    return image


def _is_cut_off(data: bytes) -> bool:
    """Return whether a JPEG or PNG lacks its end, which some decoders refuse and others fill with
    grey.

    No marker occurs by chance inside a JPEG's scan (every 0xff is stuffed), so an end marker
    without a start of scan after it belongs to the image and not to a thumbnail.
    """
    if data.startswith(JPEG_START):
        end = data.rfind(JPEG_END)
        return end < 0 or data.find(JPEG_SCAN, end) >= 0
    if data.startswith(PNG_START):
        return PNG_END not in data[-64:]
    return False


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
