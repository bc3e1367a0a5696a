"""From an image to the blob in run_onnx.py: the evaluation's, from metadata and from flags."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import noise, write_image
from helpers.params import MEAN, STD, changed
from helpers.preprocessing_table import CLIP, Form, forms, write_images
from helpers.standalone import (
    HALVES,
    call,
    preprocessing,
    printed,
    refusal,
    value_of,
    write_model,
)
from PIL import Image

from parity.core.params import CropParams
from parity.preprocessing.profile import OWN
from tools import run_onnx

TASKS = ("classification", "segmentation")
TO_48 = {"size": {"resize": 64, "crop": 48}}
SIDES = ("--rsz-height", "--rsz-width", "--height", "--width")
# Of the second one, 102/255 less the mean is 0, and of the last one 127/255.
NORMALIZATIONS = [
    (MEAN, STD),
    ([0.4, 0.6, 0.0], [1, 0.5, 0.3]),
    CLIP,
    ([127 / 255] * 3, [1 / 3] * 3),
]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds image.png and model.onnx, a classification of 4 classes."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png", noise(60, 90))
    write_model("model.onnx", "classification")
    return tmp_path


def blob(path: Path, how: run_onnx.Preprocessing) -> np.ndarray:
    return run_onnx.blob_of(run_onnx.read_image(path, how.exif), how)


def assert_same_bits(result: np.ndarray, expected: np.ndarray) -> None:
    assert (result.dtype, result.shape) == (np.float32, expected.shape)
    assert result.flags.c_contiguous
    assert result.tobytes() == expected.tobytes()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("form", [*forms()], ids=lambda form: form.name)
def test_the_blob_is_the_evaluations_to_the_bit(here, images, form):
    """From the metadata, and from the flags that are printed for them."""
    how = preprocessing(task=form.task, metadata=form.metadata())
    by_flags = preprocessing(*how.flags().split(), task=form.task)
    for path in images:
        expected = form.blob(path)
        assert_same_bits(blob(path, how), expected)
        assert_same_bits(blob(path, by_flags), expected)


@pytest.mark.parametrize("exif", ["ignore", "apply"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_of_any_orientation_makes_the_evaluations_blob(here, kind, exif):
    size = CropParams(resize=64, crop=48, keep_aspect=True, interpolation="linear")
    form = Form("turned", "classification", size, MEAN, STD, exif)
    how = preprocessing(metadata=form.metadata())
    by_flags = preprocessing(*how.flags().split())
    for orientation in range(10):
        tag = Image.Exif()
        tag[0x0112] = orientation
        path = here / f"turned.{kind.lower()}"
        Image.fromarray(noise(60, 90)).save(path, kind, exif=tag)
        expected = form.blob(path)
        assert_same_bits(blob(path, how), expected)
        assert_same_bits(blob(path, by_flags), expected)


@pytest.mark.parametrize(("mean", "std"), NORMALIZATIONS)
def test_every_byte_is_normalised_as_the_evaluation_does_it(here, mean, std):
    bytes_ = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    path = write_image(here / "bytes.png", bytes_)
    form = Form("bytes", "segmentation", OWN, mean, std)
    how = preprocessing(task="segmentation", metadata=form.metadata())
    expected = form.blob(path)
    assert_same_bits(blob(path, how), expected)
    assert_same_bits(blob(path, preprocessing(*how.flags().split(), task="segmentation")), expected)


@pytest.mark.parametrize("seed", range(3))
def test_any_mean_and_std_make_the_evaluations_blob_from_flags_too(here, seed):
    random = np.random.default_rng(seed)
    for digits in (2, 4, 8, 17):
        mean, std = (np.round(random.uniform(0.1, 0.9, 3), digits).tolist() for _ in range(2))
        test_every_byte_is_normalised_as_the_evaluation_does_it(here, mean, std)


@pytest.mark.parametrize(
    ("flags", "task"),
    [
        ("", "classification"),
        ("", "segmentation"),
        ("--no-rgb --no-crop --height 31 --width 57 --interpolation area", "classification"),
        ("--scale 0.0123456789 --mean 122.7717 0 -0.1 --std 0.26 0.26130258 1/3", "segmentation"),
        ("--scale 1 --mean -1 -0.5 1e-3 --std 1 1 1 --resize 0", "classification"),
        ("--resize 100 --keep-aspect --antialias", "segmentation"),
        ("--height 40 --width 50 --crop", "segmentation"),
    ],
)
def test_the_printed_flags_give_the_same_blob_and_are_printed_again(here, capsys, flags, task):
    write_model("model.onnx", task)
    _, again = printed(call(capsys, *flags.split()))
    hows = [preprocessing(*each, task=task) for each in (flags.split(), again)]
    blobs = [blob(here / "image.png", how) for how in hows]
    assert_same_bits(*blobs)
    assert printed(call(capsys, *again))[1] == again


@pytest.mark.parametrize("shape", [(256, 256), (60, 90), (500, 333)])
@pytest.mark.parametrize(
    ("flags", "resize", "expected"),
    [
        ("--rsz-height 70 --rsz-width 300 --height 0 --width 0", (300, 70), (70, 300)),
        ("--resize 80 --height 0 --width 0", (80, 80), (80, 80)),
        ("--resize 0 --no-crop --height 64 --width 200", (200, 64), (64, 200)),
        ("--resize 0 --height 0 --width 0", None, None),
    ],
)
def test_flags_resize_to_any_height_and_width(shape, flags, resize, expected):
    image = noise(*shape)
    how = preprocessing(*flags.split(), "--scale", "1", "--mean", *"000", "--std", *"111")
    values = run_onnx.blob_of(image, how)
    image = cv2.resize(image, resize) if resize else image
    assert values.shape[2:] == (expected or shape)
    np.testing.assert_array_equal(values[0], image[..., ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("task", TASKS)
def test_a_crop_of_an_image_that_is_not_resized_is_the_centre_of_one_that_covers_it(task):
    """As OpenCV's blobFromImage crops; see seen_part too."""
    image = noise(320, 960)
    how = preprocessing("--resize", "0", "--height", "80", "--width", "160", "--crop", task=task)
    centre = cv2.resize(image, (240, 80))[:, 40:200]
    mean, std = (np.array(values) for values in (MEAN, STD))
    expected = (centre[..., ::-1] / 255 - mean) / std
    np.testing.assert_allclose(
        run_onnx.blob_of(image, how)[0].transpose(1, 2, 0), expected, atol=1e-6
    )
    np.testing.assert_array_equal(run_onnx.seen_part(image, how), image[:, 160:800])


def test_the_order_of_the_channels_and_the_scale_are_free(here):
    image = noise(50, 60)
    flags = "--resize 0 --height 0 --width 0 --scale 0.01 --mean 1 2 3 --std 4 5 6"
    rgb, bgr = (
        run_onnx.blob_of(image, preprocessing(*flags.split(), order))[0]
        for order in ("--rgb", "--no-rgb")
    )
    np.testing.assert_array_equal(rgb, bgr[::-1])
    np.testing.assert_allclose(bgr[0], (image[..., 0] - 3.0) * 0.01 / 6, atol=1e-6)
    np.testing.assert_allclose(bgr[2], (image[..., 2] - 1.0) * 0.01 / 4, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_a_flag_goes_before_metadata_before_params_before_imagenets_constants(here, capsys, task):
    write_model("model.onnx", task)
    source, flags = printed(call(capsys))
    assert source == "ImageNet's constants"
    assert value_of("--mean", flags, 3) == [123.675, 116.28, 103.53]
    assert value_of("--std", flags, 3) == STD
    own_size = [0, 0, 0, 0]
    sides = [256, 256, 224, 224] if task == "classification" else own_size
    assert [*(value_of(side, flags)[0] for side in SIDES)] == sides

    profile = {"mean": [0.2, 0.2, 0.2], "std": STD, "task": task, "size": "own"}
    other = profile | {"task": "another"}
    Path("params.yaml").write_text(json.dumps({"preprocess": {"b": other, "a": profile}}))
    source, flags = printed(call(capsys))
    assert source == "params.yaml: preprocess.a"
    assert value_of("--mean", flags, 3) == [51, 51, 51]
    assert value_of("--height", flags) == [0]

    profile = json.dumps(HALVES | TO_48 | {"color": "BGR", "scale": 1 / 255})
    write_model("model.onnx", task, metadata={"preprocess": profile})
    source, flags = printed(call(capsys))
    assert source == "metadata of model.onnx"
    assert value_of("--mean", flags, 3) == [127.5, 127.5, 127.5]
    assert [value_of(side, flags) for side in ("--rsz-width", "--width")] == [[64], [48]]
    assert "--no-rgb" in flags

    given = ["--mean", "1", "2", "3", "--rgb", "--height", "40", "--width", "44"]
    source, flags = printed(call(capsys, *given))
    assert source == "flags, then metadata of model.onnx"
    assert value_of("--mean", flags, 3) == [1, 2, 3]
    assert value_of("--std", flags, 3) == HALVES["std"]
    assert [value_of(side, flags) for side in ("--rsz-width", "--height")] == [[64], [40]]
    assert "--rgb" in flags


def test_params_may_name_the_profile_of_a_model(here, capsys):
    profile = {"task": "classification", "size": "own"} | HALVES
    params = {"preprocess": {"first": profile, "second": profile}}
    params["models"] = {"mine": {"preprocess": "second"}}
    Path("params.yaml").write_text(json.dumps(params))
    Path("mine").mkdir()
    shutil.copy("model.onnx", "mine")
    assert printed(call(capsys))[0] == "params.yaml: preprocess.first"
    output = call(capsys, "--model", "mine/model.onnx")
    assert printed(output)[0] == "params.yaml: preprocess.second"


def test_the_parameters_of_the_pipeline_are_understood(here, capsys):
    size = {"resize": 72, "keep_aspect": True, "crop": 64, "interpolation": "cubic"}
    changes = {"opencv.engine": "classic", "preprocess.imagenet.size": size}
    Path("params.yaml").write_text(json.dumps(changed(changes)))
    output = call(capsys)
    source, flags = printed(output)
    assert source == "params.yaml: preprocess.imagenet"
    assert [value_of(side, flags) for side in SIDES] == [[72], [72], [64], [64]]
    assert {"--keep-aspect", "--crop", "cubic", "--no-antialias"} <= set(flags)
    assert "engine classic, backend default, target cpu" in output
    assert "engine new," in call(capsys, "--engine", "new")


def test_metadata_of_another_program_are_no_preprocessing(here, capsys):
    for foreign in ("center crop", "[1, 2]", json.dumps({"std": [1, 1, 1]})):
        write_model("model.onnx", "classification", metadata={"preprocess": foreign})
        assert printed(call(capsys))[0] == "ImageNet's constants"


def test_an_input_of_fixed_size_decides_where_nothing_else_fits(here, capsys):
    write_model("model.onnx", "classification", shape=(1, 3, 48, 64))
    flags = printed(call(capsys))[1]
    assert [value_of(side, flags) for side in SIDES] == [[48], [64], [48], [64]]
    assert {"--keep-aspect", "--crop"} <= set(flags)
    metadata = {"preprocess": json.dumps(HALVES | TO_48)}
    write_model("model.onnx", "classification", shape=(1, 3, 48, 48), metadata=metadata)
    flags = printed(call(capsys))[1]
    assert [value_of(side, flags) for side in SIDES] == [[64], [64], [48], [48]]
    assert {"--no-keep-aspect", "--crop"} <= set(flags)


def test_a_segmentation_of_fixed_size_gets_the_whole_image(here, capsys):
    write_model("model.onnx", "segmentation", shape=(1, 3, 48, 48))
    output = call(capsys)
    flags = printed(output)[1]
    assert [value_of(side, flags) for side in SIDES] == [[0], [0], [48], [48]]
    assert "--no-crop" in flags
    assert "image: output (1, 4, 24, 24), " in output


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1)])
def test_a_thin_image_that_would_be_huge_once_resized_is_refused(here, capfd, shape):
    write_image(here / "thin.png", noise(*shape))
    errors = refusal(capfd, "--input", "thin.png", "--resize", "256", "--keep-aspect")
    assert f"{shape[1]} x {shape[0]} pixels becomes" in errors and "at most 134217728" in errors


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("preprocess: [unclosed", "params.yaml: cannot be read as YAML"),
        ("made: 2020-13-45", "params.yaml: cannot be read as YAML"),
        (b"\xff\xfe\xfa", "params.yaml: cannot be read as YAML"),
        ({"std": [1, 1, 1], "size": "own"}, "not a preprocessing"),
        (HALVES, "not a preprocessing: KeyError 'size'"),
        (HALVES | {"size": "own", "mean": [1, 2]}, "expected three numbers"),
        (HALVES | {"size": "own", "std": [1, 1]}, "expected three numbers"),
        (HALVES | {"size": "own", "std": [1, 0, 1]}, "found 0; expected a number above 0"),
        (HALVES | {"size": "own", "mean": "grey"}, "not a preprocessing"),
        (HALVES | {"size": "big"}, "not a preprocessing"),
        (HALVES | {"size": {"resize": "big", "crop": 9}}, "not a preprocessing"),
        (HALVES | {"size": {"resize": 9, "crop": float("inf")}}, "not a preprocessing"),
        (HALVES | {"size": {"resize": 9, "crop": -9}}, "found -9 and -9"),
        (HALVES | {"size": {"resize": 9, "crop": 10}}, "found 10 x 10; expected at most 9 x 9"),
        (HALVES | {"size": {"resize": 9, "interpolation": "lanczos"}}, "interpolation 'lanczos'"),
        (HALVES | {"size": "own", "scale": 0}, "found 0; expected a number above 0"),
    ],
)
def test_a_broken_params_yaml_is_refused_in_one_line(here, capfd, content, expected):
    if isinstance(content, dict):
        profile = {"task": "classification"} | content
        content = json.dumps({"preprocess": {"mine": profile}}).replace("Infinity", ".inf")
    Path("params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    errors = refusal(capfd)
    assert expected in errors
    assert "params.yaml: " in errors or "found -9" in errors or "found 10" in errors
