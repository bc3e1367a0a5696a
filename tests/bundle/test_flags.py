import pytest
from helpers.standalone import preprocessing

from parity.bundle.flags import Flags, parse_flags

GIVEN = "--scale 1/3 --mean 1 2.5 1/3 --std 1 2 3 --no-rgb --rsz-height 70 --rsz-width 300 "
GIVEN += "--height 30 --width 40 --interpolation area --antialias --keep-aspect --exif apply"


def test_what_run_onnx_prints_is_read():
    assert parse_flags(preprocessing(*GIVEN.split()).flags()) == Flags(
        scale=1 / 3,
        mean=(1.0, 2.5, 1 / 3),
        std=(1.0, 2.0, 3.0),
        rgb=False,
        resize=(70, 300),
        keep_aspect=True,
        size=(30, 40),
        crop=True,
        interpolation="area",
        antialias=True,
        exif="apply",
    )
    flags = parse_flags(preprocessing(task="segmentation").flags())
    assert (flags.resize, flags.size, flags.crop) == ((0, 0), (0, 0), False)
    assert flags.rgb and flags.scale == 1 / 255


def test_fewer_flags_are_refused():
    with pytest.raises(LookupError):
        parse_flags("--scale 1 --mean 1 2 3")
