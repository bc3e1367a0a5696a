"""Small images and image files."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np


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


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG file of one bit per pixel that claims this size; `pixels` are compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)
