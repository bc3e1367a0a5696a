import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
import torch
from helpers.folders import replace_by
from helpers.images import encoded, exif, noise, png, png_chunk, write_image
from helpers.params import MEAN, STD
from helpers.refusals import refused
from PIL import Image, ImageOps
from torchvision.transforms import v2
from torchvision.transforms.functional import to_tensor

from parity.core.params import CropParams, ResizeParams
from parity.preprocessing.images import (
    check_resized,
    normalize,
    read_image,
    read_mask,
    resize_and_crop,
)


def jpeg(height: int, width: int, **options) -> bytes:
    return encoded(noise(height, width), "JPEG", **options)


def with_thumbnail(image: bytes, thumbnail: bytes) -> bytes:
    """Insert an EXIF segment that holds a thumbnail, or anything, after the start of a JPEG."""
    segment = b"Exif\0\0" + thumbnail
    return image[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + image[2:]


def size(resize: int, crop: int, keep_aspect: bool = True) -> CropParams:
    return CropParams(resize=resize, keep_aspect=keep_aspect, crop=crop, interpolation="linear")


def planes(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def pixels(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


# Reading


def test_channels_are_red_green_blue(tmp_path):
    rgb = noise(5, 7)
    np.testing.assert_array_equal(read_image(write_image(tmp_path / "a.png", rgb)), rgb)


def test_a_grey_jpeg_has_three_equal_channels(tmp_path):
    image = read_image(write_image(tmp_path / "a.jpg", noise(9, 8)[..., 0]))
    assert image.shape == (9, 8, 3)
    assert (image == image[..., :1]).all()


COLORS = Image.fromarray(noise(24, 32))
DEEP = (np.arange(24 * 32).reshape(24, 32) * 83 % 65536).astype(np.uint16)
MODES = {
    "1": COLORS.convert("1"),
    "L": COLORS.convert("L"),
    "LA": Image.fromarray(noise(24, 32)[..., :2]),
    "P": COLORS.quantize(200),
    "PA": COLORS.quantize(200).convert("PA"),
    "RGB": COLORS,
    "RGBA": Image.fromarray(np.dstack([noise(24, 32), noise(24, 32, seed=1)[..., 0]])),
    "CMYK": Image.fromarray(np.dstack([noise(24, 32), noise(24, 32, seed=1)[..., 0]]), "CMYK"),
    "YCbCr": COLORS.convert("YCbCr"),
    "LAB": Image.fromarray(noise(24, 32), "LAB"),
    "I;16": Image.fromarray(DEEP),
    "I;16, all dark": Image.fromarray(DEEP % 256),
    "I": Image.fromarray(DEEP.astype(np.int32)),
    "F": Image.fromarray(DEEP.astype(np.float32) / 100),
}
KINDS = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "TIFF": {},
    "BMP": {},
    "GIF": {},
    "WEBP": {"quality": 60},
    "PPM": {},
    "AVIF": {},
    "JPEG2000": {},
}


def images_of_all_modes() -> dict[str, bytes]:
    files = {}
    for kind, options in KINDS.items():
        for mode, image in MODES.items():
            try:
                files[f"{kind} {mode}"] = encoded(image, kind, **options)
            except (OSError, ValueError, KeyError):  # the format has no such mode
                continue
    return files | pngs_of_all_depths() | deep_files() | jpegs_of_all_kinds()


def pngs_of_all_depths() -> dict[str, bytes]:
    """Kinds of PNG that PIL does not write: by bits a value, with and without a transparent one."""
    files = {}
    for color, channels, depths in (
        (0, 1, (1, 2, 4, 8, 16)),
        (2, 3, (8, 16)),
        (3, 1, (1, 2, 4, 8)),
    ):
        for depth in depths:
            width = 32 * channels * depth // 8
            pixels = noise(24, width, seed=depth)[..., 0]
            data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
            chunks = {"PLTE": noise(1, 2**depth).tobytes()} if color == 3 else {}
            transparent = {"tRNS": b"\0" if color == 3 else b"\0\1" * channels}
            for more in ({}, transparent, {"gAMA": struct.pack(">I", 100_000)}):
                name = f"PNG of colour type {color}, depth {depth}, {' '.join(more) or 'plain'}"
                files[name] = png(32, 24, data, depth, color, **chunks, **more)
    for color, channels in ((4, 2), (6, 4)):
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32 * channels * 2), np.uint8)
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
        files[f"PNG of colour type {color}, depth 16"] = png(32, 24, data, 16, color)
    return files


def deep_files() -> dict[str, bytes]:
    """Files of 16 bits, as OpenCV writes them."""
    deep = np.random.default_rng(0).integers(0, 65536, (24, 32, 4), np.uint16)
    kinds = {"grey": deep[..., 0], "RGB": deep[..., :3], "RGBA": deep}
    written = {".png": kinds, ".tiff": kinds, ".ppm": ["RGB"], ".pgm": ["grey"]}
    return {
        f"{suffix} {name} of 16 bits": cv2.imencode(suffix, kinds[name])[1].tobytes()
        for suffix, names in written.items()
        for name in names
    }


def jpegs_of_all_kinds() -> dict[str, bytes]:
    image = COLORS.resize((61, 47))
    return {
        f"JPEG {subsampling} progressive={progressive} {extra}": encoded(
            image, "JPEG", subsampling=subsampling, progressive=progressive, **extra
        )
        for subsampling in (0, 1, 2)
        for progressive in (False, True)
        for extra in ({}, {"quality": 30, "optimize": True}, {"restart_marker_blocks": 3})
    } | {"JPEG of red, green and blue": encoded(image, "JPEG", subsampling=0, keep_rgb=True)}


IMAGES = images_of_all_modes()


def assert_as_by_pil(image: np.ndarray, expected: np.ndarray, file: bytes) -> None:
    """Check that pixels are PIL's; OpenCV rounds a JPEG in CMYK otherwise."""
    with Image.open(io.BytesIO(file)) as opened:
        most = 2 if (opened.format, opened.mode) == ("JPEG", "CMYK") else 0
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= most


@pytest.mark.parametrize("name", IMAGES)
def test_the_pixels_are_those_of_pils_conversion_to_rgb(tmp_path, name):
    (tmp_path / "a.image").write_bytes(IMAGES[name])
    expected = np.asarray(Image.open(io.BytesIO(IMAGES[name])).convert("RGB"))
    for orientation in ("ignore", "apply"):
        image = read_image(tmp_path / "a.image", orientation)
        assert_as_by_pil(image, expected, IMAGES[name])
        assert image.dtype == np.uint8 and image.flags.c_contiguous


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.5, 0.8])
def test_half_a_file_of_any_format_is_refused(tmp_path, kind, part):
    options = {"lossless": True} if kind == "WEBP" else KINDS[kind]
    data = encoded(noise(96, 128), kind, **options)
    path = tmp_path / "a.image"
    path.write_bytes(data[: int(part * len(data))])
    with refused(path):
        read_image(path)


def test_a_file_of_a_program_is_refused(tmp_path):
    """Pillow starts Ghostscript for it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with refused(f"{path}: not a readable image"):
        read_image(path)


# EXIF orientation


ORIENTED = [
    *((kind, mode) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") for mode in ("RGB", "L")),
    *(("JPEG", "CMYK"), ("TIFF", "CMYK"), ("MPO", "RGB"), ("PNG", "I;16"), ("PNG", "P")),
]


@pytest.mark.parametrize(("kind", "mode"), ORIENTED)
@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_is_ignored_or_applied_as_by_pil(tmp_path, kind, orientation, mode):
    data = encoded(MODES[mode], kind, exif=exif(orientation))
    path = tmp_path / "a.image"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))
    assert_as_by_pil(read_image(path), np.asarray(image.convert("RGB")), data)
    image = Image.open(io.BytesIO(data))
    turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert_as_by_pil(read_image(path, "apply"), turned, data)
    assert (turned.shape[0] == 32) == (orientation in (5, 6, 7, 8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_mask_is_turned_by_its_own_files_orientation(tmp_path, orientation, mode):
    mask = noise(6, 9)[..., 0] % 3
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image, "PNG", exif=exif(orientation)))
    np.testing.assert_array_equal(read_mask(path, 3, 255), mask)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(read_mask(path, 3, 255, "apply"), turned)


def test_the_orientation_may_come_behind_the_pixels_of_a_png(tmp_path):
    data = encoded(noise(6, 9), "PNG")
    block = png_chunk(b"eXIf", exif(6).tobytes()[6:])
    path = tmp_path / "a.png"
    path.write_bytes(data[:-12] + block + data[-12:])
    np.testing.assert_array_equal(read_image(path), noise(6, 9))
    np.testing.assert_array_equal(read_image(path, "apply"), np.rot90(noise(6, 9), -1))


BROKEN = {
    "empty": b"",
    "no TIFF": b"garbage, garbage",
    "header alone": b"II*\0",
    "offset out of the block": b"II*\0\xff\xff\xff\xff",
    "more entries than bytes": b"II*\0\x08\0\0\0\xff\xff" + bytes(30),
    "cut off": exif(6).tobytes()[6:-8],
    "text": b"II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0six\0\0\0\0\0",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("error")
def test_an_image_whose_exif_cannot_be_read_stays_as_it_is(tmp_path, name):
    image = jpeg(12, 16)
    path = tmp_path / "a.jpg"
    path.write_bytes(with_thumbnail(image, BROKEN[name]))
    for orientation in ("ignore", "apply"):
        assert read_image(path, orientation).shape == (12, 16, 3)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_the_orientation_is_read_in_both_byte_orders(tmp_path, order, count):
    form = "<" if order == "II" else ">"
    entry = struct.pack(f"{form}HHIHHI", 0x0112, 3, count, 6, 3, 0)
    block = order.encode() + struct.pack(f"{form}HIH", 42, 8, 1) + entry
    path = tmp_path / "a.jpg"
    path.write_bytes(with_thumbnail(jpeg(12, 16), block))
    assert read_image(path, "apply").shape == (16, 12, 3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"two lines\nof text\n", "not a readable image"),
        (b"\xff\xd8\xff\xd9", "not a readable image"),
    ],
)
def test_a_file_that_is_not_an_image_is_refused_by_name(tmp_path, content, expected):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with refused(f"{path}: {expected}"):
        read_image(path)


@pytest.mark.parametrize("kind", ["folder", "FIFO", "device"])
def test_what_is_no_regular_file_is_refused(tmp_path, kind):
    path = replace_by(tmp_path / "a.jpg", kind)
    with refused(f"{path}: found a {kind}; expected a regular file"):
        read_image(path)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "progressive.jpg"])
def test_a_truncated_image_is_refused_by_name(tmp_path, name, part):
    path = write_image(tmp_path / name, noise(64, 48))
    if name == "progressive.jpg":
        path.write_bytes(jpeg(64, 48, progressive=True))
    read_image(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with refused(path, "cut off"):
        read_image(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(tmp_path):
    image, thumbnail = jpeg(64, 48), jpeg(8, 8)
    data = with_thumbnail(image, thumbnail)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert read_image(path).shape == (64, 48, 3)
    for end in range(len(thumbnail) + 12, len(data) - 1, 61):
        path.write_bytes(data[:end])
        in_scan = end > data.rfind(b"\xff\xda") + 2
        with refused(path, "cut off" if in_scan else ""):
            read_image(path)


# Decompression bombs


def test_an_image_that_claims_to_be_huge_is_refused_by_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(100_000, 100_000, b""))
    expected = (
        f"{path}: found 100000x100000 pixels, 10000000000 in total; expected at most 134217728"
    )
    with refused(expected):
        read_image(path)
    with refused(expected):
        read_mask(path, 3, 255)


def test_an_image_that_decompresses_to_a_huge_size_is_refused_by_name(tmp_path):
    side, path = 20_000, tmp_path / "a.png"
    packer = zlib.compressobj()
    rows = [packer.compress(bytes(1 + side // 8)) for _ in range(side)]
    path.write_bytes(png(side, side, b"".join([*rows, packer.flush()])))
    assert path.stat().st_size < 1e5
    with warnings.catch_warnings(), refused(f"{path}: found 20000x20000 pixels"):
        warnings.simplefilter("error")
        read_image(path)
    with refused(f"{path}: found 20000x20000 pixels"):
        read_mask(path, 3, 255)


FORMATS = ("png", "jpg", "bmp", "gif", "webp", "tiff", "jp2", "ppm", "avif", "sr")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_limit_holds_for_every_format(tmp_path, monkeypatch, suffix):
    path = write_image(tmp_path / f"a.{suffix}", noise(60, 80))
    for limit in (2**27, 4800):
        monkeypatch.setattr("parity.preprocessing.images.MAX_PIXELS", limit)
        assert read_image(path).shape == (60, 80, 3)
    monkeypatch.setattr("parity.preprocessing.images.MAX_PIXELS", 4799)
    with refused(f"{path}: found 80x60 pixels, 4800 in total; expected at most 4799"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["pam", "hdr"])
def test_a_format_whose_size_is_unknown_before_decoding_is_refused(tmp_path, suffix):
    path = write_image(tmp_path / f"a.{suffix}", noise(30, 40))
    assert cv2.imread(str(path)) is not None
    with refused(f"{path}: not a readable image"):
        read_image(path)


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
def test_a_thin_image_that_would_be_resized_to_a_huge_one_is_refused_by_name(tmp_path, shape):
    path = write_image(tmp_path / "a.png", noise(*shape))
    image = read_image(path)
    check_resized(path, image, size(224, 224, keep_aspect=False))
    for wanted in (size(256, 224), ResizeParams(resize=256, interpolation="linear")):
        with refused(f"{path}: found {shape[1]}x{shape[0]} pixels, resized ", "at most 134217728"):
            check_resized(path, image, wanted)


# Masks


@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_mask_is_read_as_class_ids(tmp_path, mode):
    mask = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", 3, 255), mask)


def test_a_mask_with_a_value_outside_the_classes_is_refused_by_name(tmp_path):
    path = write_image(tmp_path / "a.png", np.array([[0, 2], [255, 3]], np.uint8))
    read_mask(path, 4, 255)
    with refused(f"{path}: found the value 3; expected 0 to 2, or 255"):
        read_mask(path, 3, 255)


@pytest.mark.parametrize("mode", ["RGB", "1", "RGBA"])
def test_a_mask_in_colour_is_refused_by_name(tmp_path, mode):
    Image.new(mode, (4, 6)).save(tmp_path / "a.png")
    with refused(f"{tmp_path / 'a.png'}: found an image of mode {mode}; expected a palette (P)"):
        read_mask(tmp_path / "a.png", 3, 255)


@pytest.mark.parametrize("part", [0.3, 0.99])
def test_a_truncated_mask_is_refused_by_name(tmp_path, part):
    path = write_image(tmp_path / "a.png", noise(64, 48)[..., 0] % 3)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with refused(path, "cut off"):
        read_mask(path, 3, 255)


@pytest.mark.parametrize("damaged", [30, 60, -40, -20])
def test_a_damaged_mask_is_refused_by_name(tmp_path, damaged):
    path = write_image(tmp_path / "a.png", noise(64, 48)[..., 0] % 3)
    data = bytearray(path.read_bytes())
    data[damaged] ^= 0xFF
    path.write_bytes(data)
    with refused(path):
        read_mask(path, 3, 255)


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_a_file_that_is_not_a_mask_is_refused_by_name(tmp_path, content):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with refused(path):
        read_mask(path, 3, 255)


# Resizing, cropping and normalising, against torchvision


@pytest.mark.parametrize(("side", "crop"), [(8, 5), (9, 4), (9, 5), (8, 4), (7, 7), (11, 2)])
@pytest.mark.parametrize("longer", [0, 1, 2, 5])
def test_the_centre_crop_is_torchvisions(side, crop, longer):
    for image in (noise(side, side + longer), noise(side + longer, side)):
        expected = pixels(v2.functional.center_crop(planes(image), [crop, crop]))
        np.testing.assert_array_equal(resize_and_crop(image, size(side, crop)), expected)


SHAPES = [(40, 60), (61, 40), (33, 77), (20, 31), (51, 50), (90, 17), (24, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_resized_image_is_torchvisions_within_one_level_of_255(shape, keep_aspect, dtype):
    # On noise, a size or an offset that is wrong by one pixel is wrong by far more.
    image = noise(*shape)
    wanted = [24] if keep_aspect else [24, 24]
    resized = v2.functional.resize(planes(image).to(dtype), wanted, antialias=False)
    expected = pixels(v2.functional.center_crop(resized, [23, 23])).astype(np.float64)
    result = resize_and_crop(image, size(24, 23, keep_aspect))
    assert result.shape == (23, 23, 3) and result.dtype == np.uint8
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "area"])
def test_an_image_of_the_right_size_is_unchanged(interpolation):
    params = size(16, 16).model_copy(update={"interpolation": interpolation})
    image = noise(16, 16)
    np.testing.assert_array_equal(resize_and_crop(image, params), image)


def test_normalising_equals_torchvisions_totensor_and_normalize():
    images = np.stack([noise(17, 9, seed) for seed in range(3)])
    images[0].reshape(-1, 3)[:] = np.linspace(0, 255, 17 * 9).astype(np.uint8)[:, None]
    reference = torch.stack([to_tensor(image) for image in images])
    reference = v2.functional.normalize(reference, MEAN, STD)
    blob = normalize(images, MEAN, STD)
    assert blob.shape == (3, 3, 17, 9) and blob.dtype == np.float32
    assert blob.flags.c_contiguous
    np.testing.assert_allclose(blob, reference.numpy(), rtol=0, atol=1e-6)


def test_every_byte_of_every_channel_is_normalised_to_the_nearest_float():
    images = np.repeat(np.arange(256, dtype=np.uint8)[None, None, :, None], 3, axis=3)
    blob = normalize(images, MEAN, STD)
    for channel in range(3):
        expected = (np.arange(256) / 255 - MEAN[channel]) / STD[channel]
        np.testing.assert_array_equal(blob[0, channel, 0], expected.astype(np.float32))


def test_a_blob_is_overwritten_if_it_is_large_enough():
    images = np.stack([noise(8, 6, seed) for seed in range(3)])
    blob = normalize(images, MEAN, STD)
    fewer = normalize(images[:2], MEAN, STD, out=blob)
    assert np.shares_memory(fewer, blob) and fewer.shape == (2, 3, 8, 6)
    np.testing.assert_array_equal(fewer, normalize(images[:2], MEAN, STD))
    larger = np.stack([noise(9, 6, seed) for seed in range(3)])
    other = normalize(larger, MEAN, STD, out=blob)
    assert not np.shares_memory(other, blob)
    np.testing.assert_array_equal(other, normalize(larger, MEAN, STD))


@pytest.mark.parametrize(("resize", "expected"), [(16, "area"), (64, "cubic")])
def test_antialias_shrinks_with_area_and_enlarges_with_the_interpolation(resize, expected):
    image = noise(32, 48)
    params = size(resize, resize).model_copy(update={"interpolation": "cubic", "antialias": True})
    plain = params.model_copy(update={"interpolation": expected, "antialias": False})
    np.testing.assert_array_equal(resize_and_crop(image, params), resize_and_crop(image, plain))
