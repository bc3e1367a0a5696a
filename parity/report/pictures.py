"""Images and masks as data URIs, small enough for a page of many models."""

import io
from base64 import b64encode

import numpy as np
from PIL import Image

LARGEST_SIDE = 400  # pixels
JPEG_QUALITY = 78
VEILED = 165  # alpha of a class in a mask: the image stays visible


def photo_uri(image: np.ndarray) -> str:
    """Return an image, uint8 (H, W, 3), RGB, as a JPEG of at most LARGEST_SIDE pixels a side."""
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return _uri("jpeg", picture, quality=JPEG_QUALITY, optimize=True)


def mask_uri(mask: np.ndarray, colors: np.ndarray) -> str:
    """Return class ids, uint8 (H, W), in the `colors`, uint8 (256, 3), as a PNG to lay over the
    image. What is black, as the background usually is, is transparent."""
    picture = Image.fromarray(mask)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.NEAREST)
    picture.putpalette(colors.tobytes())
    veil = np.where(colors.any(axis=1), VEILED, 0).astype(np.uint8)
    return _uri("png", picture, transparency=veil.tobytes(), optimize=True)


def file_uri(content: bytes) -> str:
    """Return the content of a PNG file."""
    return f"data:image/png;base64,{b64encode(content).decode('ascii')}"


def _uri(kind: str, picture: Image.Image, **options: object) -> str:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return f"data:image/{kind};base64,{b64encode(content.getvalue()).decode('ascii')}"
