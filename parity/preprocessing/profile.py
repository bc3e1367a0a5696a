"""What a preprocessing profile means: the size of the network's input, mean and standard deviation.

They are the profile's own constants or those of torchvision's weights. The stage `transform` writes
them to two files, so that a changed mean does not decode all images again.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from parity.core.cli import InputError
from parity.core.files import read_json, write_json
from parity.core.params import (
    PARAMS,
    ClassificationProfile,
    CropParams,
    Exif,
    ResizeParams,
    SegmentationProfile,
    Task,
)
from parity.core.paths import transform_folder

if TYPE_CHECKING:
    from torchvision.transforms import InterpolationMode

OWN = "own"  # each image keeps its own size

Size = CropParams | ResizeParams | str  # str: OWN
Normalization = dict[str, list[float]]


def resolve(
    name: str, profile: ClassificationProfile | SegmentationProfile
) -> tuple[Size, Normalization]:
    """Return a profile's size, and its mean and std of red, green and blue, each 0 to 1.

    Raises InputError when torchvision has no such weights, or has them for another task.
    """
    if profile.from_weights is None:
        return profile.size, {"mean": list(profile.mean), "std": list(profile.std)}
    from torchvision.models import get_weight
    from torchvision.transforms._presets import ImageClassification, SemanticSegmentation

    key = f"{PARAMS}: preprocess.{name}.from_weights"
    try:
        preset = get_weight(profile.from_weights).transforms()
    except (ValueError, TypeError, KeyError):
        expected = "expected a name of torchvision's, such as ResNet50_Weights.IMAGENET1K_V2"
        raise InputError(f"{key}: found {profile.from_weights!r}; {expected}") from None
    wanted = ImageClassification if profile.task == "classification" else SemanticSegmentation
    if not isinstance(preset, wanted):
        raise InputError(f"{key}: {profile.from_weights} is not for {profile.task}")
    resize = {
        "resize": preset.resize_size[0],
        "interpolation": _interpolation(preset.interpolation),
        "antialias": bool(preset.antialias),
    }
    if isinstance(preset, ImageClassification):
        size = CropParams(**resize, keep_aspect=True, crop=preset.crop_size[0])
    else:
        size = ResizeParams(**resize)
    return size, {"mean": list(preset.mean), "std": list(preset.std)}


def _interpolation(mode: "InterpolationMode") -> str:
    return {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}[mode.value]


def write_transform(
    folder: Path, size: Size, normalization: Normalization, exif: Exif = "ignore"
) -> None:
    """Write `size.json`, which also says whether images are turned, and `normalization.json`."""
    content = {"size": size if isinstance(size, str) else size.model_dump()}
    write_json(folder / "size.json", content | how_turned(exif))
    write_json(folder / "normalization.json", normalization)


def read_size(profile: str, task: Task) -> Size:
    """Return the size of a profile's images, OWN when each keeps its own."""

    def parse(content: dict) -> Size:
        size = content["size"]
        if isinstance(size, str):
            return size
        return CropParams(**size) if task == "classification" else ResizeParams(**size)

    return read_json(transform_folder(profile) / "size.json", parse)


def read_exif(profile: str) -> Exif:
    """Return whether a profile applies the EXIF orientation of its images."""
    return read_json(transform_folder(profile) / "size.json").get("exif", "ignore")


def how_turned(exif: Exif) -> dict[str, Exif]:
    """Return the entry `exif` of a file; without one, the orientation is ignored."""
    return {"exif": exif} if exif == "apply" else {}


def read_normalization(profile: str) -> Normalization:
    """Return mean and std of red, green and blue, each 0 to 1: arguments of `images.normalize`."""

    def parse(content: dict) -> Normalization:
        return {key: [float(value) for value in content[key]] for key in ("mean", "std")}

    return read_json(transform_folder(profile) / "normalization.json", parse)
