"""From an image file to pixels in run_onnx.py: those of PIL, and no damaged ones."""

import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import noise, write_image
from helpers.standalone import HALVES, call, printed, refusal, value_of, write_model
from PIL import Image, ImageOps

from tools import run_onnx

ORIENTATION = 0x0112
RGB = cv2.resize(noise(12, 20), (90, 60))
TRAILER = b"\xff\xd8\xff\xda\xff\xd9 and more" * 20  # as of a motion photo
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds model.onnx, a classification of 4 classes."""
    monkeypatch.chdir(tmp_path)
    write_model("model.onnx", "classification")
    return tmp_path


def encode(kind: str, orientation: int | None = None, **options: object) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    Image.fromarray(RGB).save(file, kind, **LOSSLESS.get(kind, {}), **options)
    return file.getvalue()


def pixels_of(data: bytes, exif: str = "ignore") -> np.ndarray:
    """RGB, from a file in the current folder."""
    Path("image.png").write_bytes(data)
    return run_onnx.read_image(Path("image.png"), exif)[..., ::-1]


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_an_orientation_is_ignored_or_applied_as_by_pil(here, kind, orientation):
    data = encode(kind, orientation)
    image = Image.open(io.BytesIO(data))
    ignored, applied = (np.asarray(one) for one in (image, ImageOps.exif_transpose(image)))
    for exif, expected in (("ignore", ignored), ("apply", applied)):
        found = pixels_of(data, exif)
        assert found.shape == expected.shape
        most = 4 if kind == "JPEG" else 0  # PIL has another libjpeg
        assert np.abs(found.astype(int) - expected).max() <= most
    if kind == "JPEG":
        turned = pixels_of(encode("JPEG"))
        np.testing.assert_array_equal(pixels_of(data), turned)


def test_a_flag_goes_before_metadata_before_params_and_nothing_means_ignore(here, capsys):
    Path("image.png").write_bytes(encode("PNG", 6))

    def found(*args: str) -> str:
        return printed(call(capsys, *args))[1][-1]

    assert found() == "ignore"
    profile = {"task": "classification", "size": "own", "exif": "apply"} | HALVES
    Path("params.yaml").write_text(json.dumps({"preprocess": {"mine": profile}}))
    assert found() == "apply"
    assert found("--exif", "ignore") == "ignore"
    for exif in ("ignore", "apply"):
        metadata = {"preprocess": json.dumps(profile | {"exif": exif})}
        write_model("model.onnx", "classification", metadata=metadata)
        assert found() == exif
        assert found("--exif", "ignore") == "ignore" and found("--exif", "apply") == "apply"
    del profile["exif"]
    metadata = {"preprocess": json.dumps(profile)}
    write_model("model.onnx", "classification", metadata=metadata)
    assert found() == "ignore"


@pytest.mark.parametrize("exif", ["ignore", "apply"])
def test_the_blob_and_the_picture_are_turned_alike(here, capsys, exif):
    Path("image.png").write_bytes(encode("PNG", 6))
    flags = ["--exif", exif, "--resize", "0", "--height", "0", "--width", "0"]
    call(capsys, *flags, "--save", "one.npz")
    sides = RGB.shape[:2] if exif == "ignore" else RGB.shape[1::-1]
    with np.load("one.npz") as arrays:
        assert arrays["blob"].shape == (1, 3, *sides)
    call(capsys, *flags)
    height, width = cv2.imread("out/model-image.png").shape[:2]
    assert (height < width) == (exif == "ignore")


@pytest.mark.parametrize("exif", ["turn", 6, None, True])
def test_another_exif_in_a_profile_is_refused(here, capfd, exif):
    Path("image.png").write_bytes(encode("PNG"))
    profile = {"task": "classification", "size": "own", "exif": exif} | HALVES
    write_model("model.onnx", "classification", metadata={"preprocess": json.dumps(profile)})
    assert f"found exif {exif!r}; expected ignore or apply" in refusal(capfd)


@pytest.mark.parametrize("mean", [123.7, 1.001, -0.1])
def test_the_mean_of_a_profile_is_of_0_to_1(here, capfd, mean):
    Path("image.png").write_bytes(encode("PNG"))
    profile = {"task": "classification", "size": "own", "mean": [mean, 0, 0], "std": [1, 1, 1]}
    write_model("model.onnx", "classification", metadata={"preprocess": json.dumps(profile)})
    assert f"found mean [{mean}, 0, 0]; expected numbers from 0 to 1" in refusal(capfd)
    write_model("model.onnx", "classification")
    for legitimate in (["123.7", "0", "0"], ["-1", "0", "300"]):
        flags = printed(call(capfd, "--mean", *legitimate))[1]
        assert value_of("--mean", flags, 3) == [float(value) for value in legitimate]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bits_of_grey_are_those_of_pil(here, suffix):
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    data = cv2.imencode(suffix, values)[1].tobytes()
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(pixels_of(data), expected)


def test_16_bits_of_colour_are_those_of_pil(here):
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    data = cv2.imencode(".png", values)[1].tobytes()
    np.testing.assert_array_equal(pixels_of(data), (values >> 8)[..., ::-1])


SOUND = {
    "jpeg": encode("JPEG"),
    "progressive": encode("JPEG", progressive=True),
    "restarts": encode("JPEG", restart_marker_blocks=3),
    "thumbnail": encode("JPEG", comment=encode("JPEG")),
    "png": encode("PNG"),
}


@pytest.mark.parametrize("kind", SOUND)
def test_bytes_behind_the_end_are_not_the_images(here, kind):
    data = SOUND[kind]
    for behind in (b"\0", TRAILER, bytes(1000), data, data[:100]):
        np.testing.assert_array_equal(pixels_of(data + behind), pixels_of(data))


@pytest.mark.parametrize("kind", SOUND)
def test_half_an_image_is_refused(here, capfd, kind):
    data = SOUND[kind]
    for share in (0.3, 0.5, 0.9):
        cut = data[: int(share * len(data))]
        ends = [b""] if kind == "png" else [b"", b"\xff\xd9", bytes(200) + b"\xff\xd9"]
        for end in ends:
            Path("image.png").write_bytes(cut + end)
            errors = refusal(capfd)
            assert "image.png: the image is " in errors or "image.png: not an image" in errors


def test_a_progressive_jpeg_without_its_last_scans_is_refused(here, capfd):
    data = SOUND["progressive"]
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    for scan in scans[1:]:
        Path("image.png").write_bytes(data[:scan] + b"\xff\xd9")
        assert "its last scans are missing" in refusal(capfd)


@pytest.mark.parametrize("header", [b"", b"\0", b"\0\2", b"\0\3\1", b"\0\4\1\1"])
def test_a_progressive_jpeg_with_a_short_scan_header_is_refused(here, capfd, header):
    data = SOUND["progressive"]
    Path("image.png").write_bytes(data[: data.rindex(b"\xff\xda") + 2] + header + b"\xff\xd9")
    assert re.search("image.png: the image is (cut off|damaged)", refusal(capfd))


def test_what_a_library_prints_about_metadata_is_no_damage(here, capfd):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG", icc_profile=b"no profile")
    np.testing.assert_array_equal(pixels_of(file.getvalue()), RGB)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_image_of_an_animation_is_taken(here, kind):
    frames = [Image.fromarray(np.roll(RGB, shift, axis=0)) for shift in (0, 9, 20)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **LOSSLESS.get(kind, {}))
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    np.testing.assert_array_equal(pixels_of(file.getvalue()), expected)


@pytest.mark.parametrize("exif", ["ignore", "apply"])
def test_an_avif_is_not_turned_in_silence(here, capfd, exif):
    Path("image.png").write_bytes(encode("AVIF", 6))
    if exif == "ignore":
        assert "class 0" in call(capfd)
    else:
        assert "OpenCV does not turn it" in refusal(capfd, "--exif", exif)


def test_an_image_of_one_pixel_and_one_of_too_many(here, capfd):
    write_image(here / "image.png", noise(1, 1))
    assert "class 0" in call(capfd)
    file = io.BytesIO()
    Image.new("1", (2**14, 2**13 + 1)).save(file, "PNG")
    Path("image.png").write_bytes(file.getvalue())
    assert f"expected at most {run_onnx.MAX_PIXELS}" in refusal(capfd)
