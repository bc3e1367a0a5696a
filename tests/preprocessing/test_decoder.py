"""What the decoder refuses as damaged, and what it must not."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.checkout import REAL, needs_real
from helpers.images import encoded, noise, png, png_chunk
from PIL import Image

from parity.preprocessing.decoder import JPEG_END, JPEG_SCAN, DamagedImage, decode

SMOOTH = np.asarray(Image.fromarray(noise(12, 16)).resize((192, 144), Image.Resampling.BICUBIC))
JPEGS = {
    "baseline": encoded(SMOOTH, "JPEG"),
    "optimised": encoded(SMOOTH, "JPEG", optimize=True),
    "progressive": encoded(SMOOTH, "JPEG", progressive=True),
    "restarts": encoded(SMOOTH, "JPEG", restart_marker_blocks=5),
    "grey": encoded(SMOOTH[..., 0], "JPEG"),
    "full chroma": encoded(SMOOTH, "JPEG", subsampling=0, quality=95),
    "cmyk": encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG"),
}
BASELINE = JPEGS["baseline"]

each_jpeg = pytest.mark.parametrize("kind", JPEGS)


def refused(data: bytes) -> str:
    with pytest.raises(DamagedImage) as caught:
        decode(data)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def first_scan(data: bytes) -> int:
    """Where the coefficients begin; these files have no thumbnail."""
    start = data.index(JPEG_SCAN) + 2
    return start + int.from_bytes(data[start : start + 2], "big")


# Damaged JPEG


@each_jpeg
@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_jpeg_cut_off_with_an_end_behind_it_is_refused(kind, part):
    data = JPEGS[kind]
    start = first_scan(data)
    assert refused(data[: start + int(part * (len(data) - start))] + JPEG_END)


@each_jpeg
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\x55"])
def test_a_jpeg_that_goes_on_with_filler_is_refused(kind, part, filler):
    data = JPEGS[kind]
    start = first_scan(data)
    kept = data[: start + int(part * (len(data) - start))]
    assert refused(kept + filler * (len(data) - len(kept) - 2) + JPEG_END)


@pytest.mark.parametrize("kind", ["baseline", "optimised", "restarts", "grey", "full chroma"])
def test_a_jpeg_with_half_of_its_scan_zero_is_refused(kind):
    data = JPEGS[kind]
    start = first_scan(data)
    quarter = (len(data) - start) // 4
    assert refused(data[: start + quarter] + bytes(2 * quarter) + data[start + 3 * quarter :])


@each_jpeg
@pytest.mark.parametrize("bytes_lost", [1, 2, 3, 50])
def test_a_jpeg_without_its_end_is_refused_as_cut_off(kind, bytes_lost):
    assert "cut off" in refused(JPEGS[kind][:-bytes_lost])


def test_a_jpeg_that_claims_more_rows_or_fewer_is_refused():
    height = struct.pack(">HH", *SMOOTH.shape[:2])
    for rows in (SMOOTH.shape[0] + 64, SMOOTH.shape[0] - 64):
        claim = struct.pack(">HH", rows, SMOOTH.shape[1])
        assert refused(BASELINE.replace(height, claim, 1))


@pytest.mark.parametrize("image", [SMOOTH, SMOOTH[..., 0]], ids=["colour", "grey"])
def test_a_progressive_jpeg_without_its_last_scans_is_refused(image):
    """libjpeg passes over it: it is what a browser shows while the rest is on its way."""
    data = encoded(image, "JPEG", progressive=True)
    decode(data)
    scans = [at for at in range(len(data)) if data.startswith(JPEG_SCAN, at)]
    assert len(scans) > 5
    for scan in scans[1:]:
        assert "last scans" in refused(data[:scan] + JPEG_END)


def test_the_scans_of_a_second_picture_do_not_complete_the_first():
    data = JPEGS["progressive"]
    cut = data[: data.rindex(JPEG_SCAN)] + JPEG_END
    assert "last scans" in refused(cut + data)


# Damaged PNG


ROWS = b"".join(b"\0" + row.tobytes() for row in noise(10, 20))


def rgb_png(pixels: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of 20x10 pixels whose chunk of compressed pixels has others before and after it."""
    data = png(20, 10, pixels, depth=8, color=2)
    start, end = data.index(b"IDAT") - 4, len(data) - 12
    return data[:start] + before + data[start:end] + after + data[end:]


GOOD = zlib.compress(ROWS)
DAMAGED_PNGS = {
    "half of the rows": rgb_png(zlib.compress(ROWS[: len(ROWS) // 2])),
    "all rows but one": rgb_png(zlib.compress(ROWS[:-61])),
    "more rows": rgb_png(zlib.compress(ROWS + ROWS)),
    "no checksum of the pixels": rgb_png(GOOD[:-4]),
    "wrong checksum of the pixels": rgb_png(GOOD[:-1] + bytes([GOOD[-1] ^ 1])),
    "bytes behind the pixels": rgb_png(GOOD + b"abc"),
    "wrong checksum of the chunk": rgb_png(GOOD).replace(
        png_chunk(b"IDAT", GOOD), png_chunk(b"IDAT", GOOD, wrong=1)
    ),
    "wrong checksum of a text": rgb_png(GOOD, after=png_chunk(b"tEXt", b"a\0b", wrong=1)),
    "an unknown critical chunk": rgb_png(GOOD, before=png_chunk(b"ABCD", b"x")),
    "no end": rgb_png(GOOD)[:-12],
    "half an end": rgb_png(GOOD)[:-3],
}


@pytest.mark.parametrize("name", DAMAGED_PNGS)
def test_a_damaged_png_is_refused(name):
    np.testing.assert_array_equal(decode(rgb_png(GOOD)), noise(10, 20))
    assert refused(DAMAGED_PNGS[name])


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.9])
def test_a_png_cut_off_with_an_end_behind_it_is_refused(part):
    data = encoded(SMOOTH, "PNG")
    assert refused(data[: int(part * len(data))] + data[-12:])
    assert refused(data[: int(part * len(data))] + bytes(1000) + data[-12:])


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.95])
def test_a_flipped_bit_in_a_pngs_pixels_is_refused(place):
    data = bytearray(encoded(SMOOTH, "PNG"))
    data[int(place * len(data))] ^= 16
    assert refused(bytes(data))


# Sound


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment right after its start."""
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    return data[:2] + segment + data[2:]


TRAILERS = {
    "a second picture": JPEGS["progressive"],
    "a video": b"\0\0\0\x18ftypmp42" + noise(40, 40).tobytes() + JPEG_SCAN + bytes(100),
    "the start of a scan": JPEG_SCAN,
    "zeros": bytes(5000),
    "text": b"trailer",
}


@each_jpeg
@pytest.mark.parametrize("trailer", TRAILERS)
def test_what_follows_the_end_of_a_jpeg_does_not_count(kind, trailer):
    data = JPEGS[kind]
    np.testing.assert_array_equal(decode(data + TRAILERS[trailer]), decode(data))


@pytest.mark.parametrize("trailer", TRAILERS)
def test_what_follows_the_end_of_a_png_does_not_count(trailer):
    data = encoded(SMOOTH, "PNG")
    np.testing.assert_array_equal(decode(data + TRAILERS[trailer]), SMOOTH)


SOUND = {
    "thumbnail": with_segment(BASELINE, 0xE1, b"Exif\0\0" + encoded(SMOOTH[:40, :40], "JPEG")),
    "progressive thumbnail": with_segment(
        JPEGS["progressive"],
        0xE1,
        b"Exif\0\0" + encoded(SMOOTH[:40, :40], "JPEG", progressive=True),
    ),
    "broken EXIF": with_segment(BASELINE, 0xE1, b"Exif\0\0garbage"),
    "broken ICC": with_segment(BASELINE, 0xE2, b"ICC_PROFILE\0\x09\x02garbage"),
    "an unknown JFIF revision": BASELINE.replace(b"JFIF\0\1", b"JFIF\0\3", 1),
    "a comment that looks like scans": with_segment(BASELINE, 0xFE, (JPEG_SCAN + JPEG_END) * 9),
    "fill bytes": BASELINE[:2] + b"\xff\xff" + BASELINE[2:],
    "several pictures": encoded(
        Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_jpeg_is_decoded(name):
    clean = JPEGS["progressive" if "progressive" in name else "baseline"]
    np.testing.assert_array_equal(decode(SOUND[name]), decode(clean))


HARMLESS = {
    "a bad colour profile": png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"abc")),
    "bad significant bits": png_chunk(b"sBIT", b"\x09\x09\x09"),
    "a bad date": png_chunk(b"tIME", bytes(7)),
    "a bad EXIF": png_chunk(b"eXIf", b"garbage"),
    "a private chunk": png_chunk(b"abCd", b"x"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_png_with_bad_metadata_is_decoded(name, capfd):
    np.testing.assert_array_equal(decode(rgb_png(GOOD, before=HARMLESS[name])), noise(10, 20))
    printed = capfd.readouterr().err
    assert "warning" in printed or name == "a private chunk"


def test_stderr_is_this_processs_own_again(capfd):
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for data in (BASELINE, BASELINE[:-900] + JPEG_END, b"\x89PNG", b"\xff\xd8"):
        try:
            decode(data)
        except DamagedImage:
            os.write(2, b"refused\n")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert capfd.readouterr().err == "refused\n" * 3


@needs_real
def test_real_images_are_sound_and_have_pils_pixels():
    paths = [path for path in REAL.rglob("*") if path.suffix in (".JPEG", ".jpg", ".png")]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(decode(path.read_bytes()), expected)
