"""The flags of run_onnx.py that say how an image becomes a blob, as it prints them."""

from dataclasses import dataclass
from fractions import Fraction

from parity.core.params import Exif

SWITCHES = ("rgb", "keep-aspect", "crop", "antialias")


@dataclass(frozen=True)
class Flags:
    """blob = (image - mean) * scale / std, with `mean` and `std` of red, green and blue, `mean` of
    values from 0 to 255. `resize` and `size` are (height, width) in pixels, (0, 0) for the image's
    own."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool
    resize: tuple[int, int]
    keep_aspect: bool
    size: tuple[int, int]
    crop: bool
    interpolation: str
    antialias: bool
    exif: Exif


def parse_flags(text: str) -> Flags:
    """Read what run_onnx.py prints, which names every flag; raises LookupError for less."""
    values: dict[str, list[str]] = {}
    for word in text.split():
        if word.startswith("--"):
            flag = values.setdefault(word.removeprefix("--"), [])
        else:
            flag.append(word)
    on = {name: f"no-{name}" not in values for name in SWITCHES}
    numbers = {
        name: tuple(float(Fraction(value)) for value in values[name])
        for name in ("scale", "mean", "std")
    }
    sides = {name: int(values[name][0]) for name in ("rsz-height", "rsz-width", "height", "width")}
    return Flags(
        scale=numbers["scale"][0],
        mean=numbers["mean"],
        std=numbers["std"],
        rgb=on["rgb"],
        resize=(sides["rsz-height"], sides["rsz-width"]),
        keep_aspect=on["keep-aspect"],
        size=(sides["height"], sides["width"]),
        crop=on["crop"],
        interpolation=values["interpolation"][0],
        antialias=on["antialias"],
        exif=values["exif"][0],
    )
