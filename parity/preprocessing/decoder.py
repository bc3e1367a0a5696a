"""Decode JPEG and PNG files with OpenCV, and refuse what its libraries complain about.

OpenCV returns a damaged JPEG half grey; that the data ended early only stands on stderr.
"""

import os
import re

import cv2
import numpy as np

# What libjpeg and libpng print when pixels are damaged. Their other warnings are about metadata.
DAMAGE = re.compile(
    rb"^(?:Corrupt JPEG data: (?!bad ICC)|Premature end of JPEG|Inconsistent progression"
    rb"|libpng error: |libpng warning: (?:IDAT: |\w+: CRC error)).*",
    re.MULTILINE,
)
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
PROGRESSIVE_FRAME = 0xC2
PNG_START, PNG_END = b"\x89PNG", b"IEND"


class DamagedImage(Exception):
    """A file cannot be decoded in full; the message says why."""


def decode(data: bytes, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Decode a JPEG or PNG file into uint8 (H, W, 3), RGB, or (H, W) with IMREAD_GRAYSCALE.

    The EXIF orientation is not applied. Raises DamagedImage when OpenCV cannot decode the file, or
    warns of damaged pixels, or a progressive JPEG lacks scans.
    """
    image, printed = _decode_and_listen(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    damage = DAMAGE.search(printed)
    if image is None and (damage is None or _lacks_end(data)):
        raise DamagedImage(why_unreadable(data))
    if damage:
        raise DamagedImage(f"the image is damaged: {damage[0].decode(errors='replace')}")
    if data.startswith(JPEG_START) and _lacks_scans(data):
        raise DamagedImage("the image is cut off, a progressive JPEG without its last scans")
    if printed:
        os.write(2, printed)
    return image


def _decode_and_listen(data: bytes, flags: int) -> tuple[np.ndarray | None, bytes]:
    """Return what OpenCV decodes, and what it prints meanwhile to the process's stderr.

    The libraries in C write to the descriptor, which Python's `sys.stderr` does not see.
    """
    stderr, listener = os.dup(2), os.memfd_create("stderr")
    os.dup2(listener, 2)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DamagedImage(f"OpenCV refuses the image: {error.err}") from None
    finally:
        os.dup2(stderr, 2)
        printed = os.pread(listener, 2**16, 0)
        os.close(stderr)
        os.close(listener)
    return image, printed


def why_unreadable(data: bytes) -> str:
    """Return the reason why a file cannot be opened, as far as its first and last bytes tell."""
    if _lacks_end(data):
        return f"the image is cut off, its end is missing ({len(data)} bytes)"
    return "not a readable image"


def _lacks_end(data: bytes) -> bool:
    if data.startswith(JPEG_START):
        return data.rfind(JPEG_END) <= data.rfind(JPEG_SCAN)
    return data.startswith(PNG_START) and PNG_END not in data[-64:]


def _lacks_scans(data: bytes) -> bool:
    """Return whether a progressive JPEG lacks scans, for which libjpeg has no warning.

    A scan brings the coefficients `first` to `last` of some components, without their `low` lowest
    bits (ITU T.81, B.2.3 and G.1). All bits of all coefficients must come before the end.
    """
    frame = scan = 2
    while (code := data[scan + 1]) != JPEG_SCAN[1]:
        if code == PROGRESSIVE_FRAME:
            frame = scan
        scan += 1 if code == 0xFF else 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        if data[scan : scan + 1] != b"\xff":
            return False  # not the segments of a plain header
    if frame == 2:
        return False
    count = data[frame + 9]
    missing = {data[frame + 10 + 3 * index]: set(range(64)) for index in range(count)}
    end = data.find(JPEG_END, scan)
    while scan >= 0 and any(missing.values()):
        count = data[scan + 4]
        first, last, bits = data[scan + 5 + 2 * count : scan + 8 + 2 * count]
        if not bits & 0x0F:
            for component in data[scan + 5 : scan + 5 + 2 * count : 2]:
                missing[component] -= set(range(first, last + 1))
        scan = data.find(JPEG_SCAN, scan + 2, end)
    return any(missing.values())
