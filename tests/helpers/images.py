"""Small images and image files."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image in which every pixel differs: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_image(path: Path, rgb: np.ndarray | None = None) -> Path:
    """Write an RGB or grey image in the format of the suffix."""
    rgb = noise(12, 16) if rgb is None else rgb
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return path


def encoded(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """An image file written by PIL, in the format `kind`."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: object, tag: int = 0x0112) -> Image.Exif:
    block = Image.Exif()
    block[tag] = orientation
    return block


def png(width: int, height: int, pixels: bytes, depth: int = 1, color: int = 0, **chunks) -> bytes:
    """A PNG file that claims this size; `pixels` are compressed. More chunks, such as `tRNS`, come
    before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    middle = b"".join(png_chunk(kind.encode(), data) for kind, data in chunks.items())
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return start + middle + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, data: bytes, wrong: int = 0) -> bytes:
    """A chunk of a PNG file; its checksum is off by the bits of `wrong`."""
    checksum = zlib.crc32(kind + data) ^ wrong
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
