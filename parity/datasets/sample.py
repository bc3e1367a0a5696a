"""The embedded sample datasets: offline, deterministic, in exactly the layouts of the field.

Both are drawn from formulas, so that the whole pipeline runs without a download and every number
that it reports is meaningful: classes differ in colour and texture (and, for segmentation, in
shape), and vary in scale, angle, phase, light, noise, hue and surroundings.

Image `index` of a split depends on (seed, split, index) only: a larger sample starts with the
images of a smaller one, byte for byte.
"""

import colorsys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from parity.core.class_ids import IGNORED, voc_palette
from parity.core.params import Task

JPEG_QUALITY = 90
VOID_BORDER_PX = 3

# Ranges to draw from. They set how hard the data is: a linear probe on random features should score
# well above chance and below perfect.
SWATCH_SIDES_PX = (200, 400)
SWATCH_RADIUS = (0.4, 0.65)  # of the shorter side
SCENE_HEIGHT_PX = (180, 260)
SCENE_WIDTH_PX = (240, 340)
OBJECTS = (1, 4)
OBJECT_RADIUS = (0.18, 0.36)  # of the height
TEXTURE_PERIOD_PX = (19, 38)
TEXTURE_ANGLE = (-0.6, 0.6)  # radians
OBJECT_ANGLE = (-0.5, 0.5)  # radians
SHADE_JITTER = (5, 0.06, 0.06)  # standard deviations of hue (degrees), saturation, value
BACKGROUND_LEVEL = (100, 170)  # of 255
DISTRACTION = 0.25  # opacity of the texture in the background
EXPOSURE = (0.75, 1.1)
EXPOSURE_TILT = (-0.2, 0.2)  # from the middle to an edge
NOISE = (2, 10)  # standard deviation, of 255

# Seed words: a stream of random numbers for each purpose, so that no two draws are correlated.
SPLITS = {"train": 0, "val": 1}
CLASSIFICATION, SEGMENTATION, CLASS_ORDER = 0, 1, 2

# Hue in degrees on the colour wheel, saturation and value from 0 to 1.
COLOURS = {
    "red": (0, 0.8, 0.85),
    "orange": (25, 0.85, 0.9),
    "yellow": (52, 0.8, 0.9),
    "green": (120, 0.75, 0.65),
    "teal": (175, 0.75, 0.7),
    "blue": (215, 0.8, 0.85),
    "navy": (235, 0.75, 0.4),
    "purple": (280, 0.7, 0.7),
    "pink": (325, 0.5, 0.9),
    "black": (0, 0.0, 0.15),
    "gray": (0, 0.0, 0.5),
    "white": (0, 0.0, 0.9),
}


class Look(NamedTuple):
    """The look of a class: a key of `TEXTURES`, drawn in one of `COLOURS` on another."""

    label: str
    ink: str
    ground: str
    texture: str


CLASSIFICATION_LOOKS = (
    Look("red stripes", "red", "white", "stripes"),
    Look("yellow dots", "yellow", "navy", "dots"),
    Look("orange bricks", "orange", "gray", "bricks"),
    Look("green checks", "green", "white", "checks"),
    Look("teal zigzags", "teal", "black", "zigzags"),
    Look("blue waves", "blue", "white", "waves"),
    Look("white crosses", "white", "red", "crosses"),
    Look("purple diamonds", "purple", "yellow", "diamonds"),
    Look("black rings", "black", "white", "rings"),
    Look("pink grid", "pink", "black", "grid"),
)

# Foreground only: index 0 of the labels is the background. `label` names an outline in `OUTLINES`.
SEGMENTATION_LOOKS = (
    Look("disc", "red", "orange", "dots"),
    Look("square", "blue", "navy", "checks"),
    Look("triangle", "green", "teal", "stripes"),
    Look("star", "yellow", "white", "zigzags"),
    Look("ring", "purple", "navy", "waves"),
    Look("cross", "gray", "black", "grid"),
    Look("heart", "pink", "white", "diamonds"),
)


def write_sample(root: Path, task: Task, seed: int, train_images: int, val_images: int) -> None:
    """Write the sample dataset of a task into `root`, which may exist. `seed` is not negative."""
    write = write_classification if task == "classification" else write_segmentation
    write(root, seed=seed, train_images=train_images, val_images=val_images)


def write_classification(root: Path, *, seed: int, train_images: int, val_images: int) -> None:
    """Write a classification dataset in the layout of the ImageNet validation set.

    - `images/sample_<split>_<number>.JPEG`: RGB, sides of 200 to 400 px, any aspect ratio.
    - `train.txt`, `val.txt`: lines `name class_id`; classes balanced, in shuffled order.
    - `classes.txt`: one label a line; the line number, from 0, is the class id.
    """
    (root / "images").mkdir(parents=True, exist_ok=True)
    labels = [look.label for look in CLASSIFICATION_LOOKS]
    _write_lines(root / "classes.txt", labels)
    for split, count in (("train", train_images), ("val", val_images)):
        lines = []
        for index in range(count):
            class_id = _balanced_class(len(labels), seed, split, index)
            rng = np.random.default_rng([seed, SPLITS[split], CLASSIFICATION, index])
            name = f"sample_{split}_{index + 1:08d}.JPEG"
            _write_jpeg(root / "images" / name, _swatch(CLASSIFICATION_LOOKS[class_id], rng))
            lines.append(f"{name} {class_id}")
        _write_lines(root / f"{split}.txt", lines)


def write_segmentation(root: Path, *, seed: int, train_images: int, val_images: int) -> None:
    """Write a segmentation dataset in the layout of Pascal VOC.

    - `JPEGImages/<name>.jpg`: RGB, 180 to 260 px high and 240 to 340 px wide.
    - `SegmentationClass/<name>.png`: mode P with the VOC palette, uint8 class ids; 0 is the
      background and 255, about 3 px around every object, is void: ignored when scoring.
    - `ImageSets/Segmentation/train.txt`, `val.txt`: a name a line, without suffix.
    - `classes.txt`: lines `name r g b`; the line number, from 0, is the class id.

    A split of 7 images or more shows every class.
    """
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    labels = ["background", *(look.label for look in SEGMENTATION_LOOKS)]
    colours = voc_palette(len(labels)).tolist()
    _write_lines(
        root / "classes.txt",
        [f"{label} {r} {g} {b}" for label, (r, g, b) in zip(labels, colours, strict=True)],
    )
    for split, count in (("train", train_images), ("val", val_images)):
        names = [f"sample_{split}_{index + 1:06d}" for index in range(count)]
        for index, name in enumerate(names):
            front_class = 1 + _balanced_class(len(SEGMENTATION_LOOKS), seed, split, index)
            rng = np.random.default_rng([seed, SPLITS[split], SEGMENTATION, index])
            image, mask = _scene(front_class, rng)
            _write_jpeg(root / "JPEGImages" / f"{name}.jpg", image)
            _write_mask(root / "SegmentationClass" / f"{name}.png", mask)
        _write_lines(root / "ImageSets" / "Segmentation" / f"{split}.txt", names)


def _balanced_class(classes: int, seed: int, split: str, index: int) -> int:
    """Return the class of image `index`: each run of `classes` images is a permutation of them."""
    block, place = divmod(index, classes)
    rng = np.random.default_rng([seed, SPLITS[split], CLASS_ORDER, classes, block])
    return int(rng.permutation(classes)[place])


def _swatch(look: Look, rng: np.random.Generator) -> np.ndarray:
    """Draw a round-edged swatch of the look's texture over a background: (H, W, 3) uint8."""
    height, width = rng.integers(*SWATCH_SIDES_PX, size=2, endpoint=True).tolist()
    image = _background(height, width, rng)
    # Scaled to the shorter side and near the centre, the swatch survives a centre crop.
    side = min(height, width)
    centre = np.array([width, height]) / 2 + rng.uniform(-0.1, 0.1, size=2) * side
    outline = [_pebble(rng) * rng.uniform(*SWATCH_RADIUS) * side + centre]
    _paste(image, _texture(look, height, width, rng), outline)
    return _photograph(image, rng)


def _scene(front_class: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw 1 to 4 objects; the last one, wholly visible, is of `front_class`.

    Returns the image (H, W, 3) uint8 and its labels (H, W) uint8.
    """
    height = int(rng.integers(*SCENE_HEIGHT_PX, endpoint=True))
    width = int(rng.integers(*SCENE_WIDTH_PX, endpoint=True))
    image = _background(height, width, rng)
    mask = np.zeros((height, width), dtype=np.uint8)
    objects = rng.integers(*OBJECTS, endpoint=True)
    behind = rng.integers(1, len(SEGMENTATION_LOOKS), size=objects - 1, endpoint=True).tolist()
    centres: list[np.ndarray] = []
    for class_id in [*behind, front_class]:
        look = SEGMENTATION_LOOKS[class_id - 1]
        radius = rng.uniform(*OBJECT_RADIUS) * height
        centres.append(_free_centre(centres, radius, height, width, rng))
        turn = _rotation(rng.uniform(*OBJECT_ANGLE))
        contours = OUTLINES[look.label]()
        outline = [contour @ turn * radius + centres[-1] for contour in contours]
        _paste(image, _texture(look, height, width, rng), outline)
        pixels = [np.rint(contour).astype(np.int32) for contour in outline]
        cv2.fillPoly(mask, pixels, class_id)
        cv2.polylines(mask, pixels, True, IGNORED, VOID_BORDER_PX)
    return _photograph(image, rng), mask


def _free_centre(
    taken: list[np.ndarray], radius: float, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the place, (2,) x, y in px, of three drawn that is farthest from those taken."""
    places = rng.uniform((radius, radius), (width - radius, height - radius), size=(3, 2))
    gaps = [min((np.hypot(*(place - other)) for other in taken), default=0) for place in places]
    return places[np.argmax(gaps)]


# Images are drawn as planes, (3, H, W) float32, red first, 0 to 255: NumPy broadcasts a colour or a
# light over planes several times faster than over pixels.


def _background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw clouds of muted colour with a faint texture of any kind and colours."""
    brightness = rng.uniform(*BACKGROUND_LEVEL) + rng.normal(0, 25, size=(4, 5))
    tint = rng.normal(0, 12, size=(3, 4, 5))
    # In float64: in float32 the last bits, and so the files, depend on the processor.
    clouds = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        for plane in brightness + tint
    ]
    ink, ground = rng.choice(list(COLOURS), size=2)
    distraction = _texture(Look("", ink, ground, rng.choice(list(TEXTURES))), height, width, rng)
    return np.stack(clouds) * (1 - DISTRACTION) + distraction * DISTRACTION


def _texture(look: Look, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Fill an image with the look's texture, in shades of its two colours."""
    period = rng.uniform(*TEXTURE_PERIOD_PX)
    turn = _rotation(rng.uniform(*TEXTURE_ANGLE)) / period
    phase = rng.uniform(0, 1, size=2)
    x = np.arange(width)[:, None] - width / 2
    y = np.arange(height)[:, None] - height / 2
    along_x = (x * turn[0] + phase).astype(np.float32)
    along_y = (y * turn[1]).astype(np.float32)
    u, v = (along_x[:, axis] + along_y[:, axis, None] for axis in (0, 1))
    # Back in pixels, a ramp one pixel wide across the edge antialiases every texture alike.
    cover = np.clip(TEXTURES[look.texture](u, v) * np.float32(period) + np.float32(0.5), 0, 1)
    ink, ground = _colour(look.ink, rng), _colour(look.ground, rng)
    return ground + cover * (ink - ground)


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light the planes from one side, add sensor noise and return (H, W, 3) uint8."""
    _, height, width = image.shape
    tilt_x, tilt_y = rng.uniform(*EXPOSURE_TILT, size=2)
    light = (
        rng.uniform(*EXPOSURE)
        + np.linspace(-tilt_x, tilt_x, width, dtype=np.float32)
        + np.linspace(-tilt_y, tilt_y, height, dtype=np.float32)[:, None]
    )
    noise = rng.standard_normal((height, width), dtype=np.float32)
    noise *= np.float32(rng.uniform(*NOISE))
    return cv2.merge(list(np.clip(image * light + noise, 0, 255).astype(np.uint8)))


def _paste(image: np.ndarray, layer: np.ndarray, outline: list[np.ndarray]) -> None:
    """Copy `layer` into `image`, in place, inside the contours (x, y in px), antialiased."""
    cover = np.zeros(image.shape[1:], dtype=np.uint8)
    fixed_point = [np.rint(contour * 16).astype(np.int32) for contour in outline]
    cv2.fillPoly(cover, fixed_point, 255, lineType=cv2.LINE_AA, shift=4)
    image += (layer - image) * (cover / np.float32(255))


def _rotation(angle: float) -> np.ndarray:
    """Return the (2, 2) matrix that turns row vectors by `angle` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def _colour(name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a shade of one of `COLOURS`: (3, 1, 1) float32, red first, 0 to 255."""
    hue, saturation, value = COLOURS[name] + rng.normal(0, SHADE_JITTER)
    rgb = colorsys.hsv_to_rgb(hue / 360 % 1, np.clip(saturation, 0, 1), np.clip(value, 0, 1))
    return np.array(rgb, dtype=np.float32)[:, None, None] * 255


# Textures: signed distance to the pattern's edge at (u, v), positive inside, all in periods. They
# use only operations that IEEE 754 rounds exactly (no sin, no hypot), so that the bits are the same
# on any processor.


def _near(t: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest whole number, 0 to 0.5."""
    return np.abs(t - np.rint(t))


def _stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.25 - _near(u)


def _waves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    half_wave = u / 2 - np.rint(u / 2)
    return 0.25 - _near(v + 4.8 * half_wave * (0.5 - np.abs(half_wave)))


def _zigzags(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.25 - _near(v + 1.2 * _near(u / 1.5))


def _rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.25 - _near(np.sqrt(u * u + v * v))


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = _near(u), _near(v)
    return 0.36 - np.sqrt(a * a + b * b)


def _diamonds(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.42 - _near(u) - _near(v)


def _grid(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.15 - np.minimum(_near(u), _near(v))


def _checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = 0.25 - _near(u / 2), 0.25 - _near(v / 2)
    return 2 * np.sign(a * b) * np.minimum(np.abs(a), np.abs(b))


def _crosses(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = _near(u), _near(v)
    return np.minimum(0.14 - np.minimum(a, b), 0.4 - np.maximum(a, b))


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.floor(v)
    joint_u = 2 * _near(u / 2 + row / 2)
    return np.minimum(joint_u, _near(v)) - 0.09


TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "stripes": _stripes,
    "waves": _waves,
    "zigzags": _zigzags,
    "rings": _rings,
    "dots": _dots,
    "diamonds": _diamonds,
    "grid": _grid,
    "checks": _checks,
    "crosses": _crosses,
    "bricks": _bricks,
}


# Outlines: closed contours (points, 2) of about unit radius; a contour inside another is a hole.


def _circle(points: int, turn: float = -0.25) -> np.ndarray:
    """Return `points` corners on the unit circle; `turn` -0.25 puts the first at the top."""
    angle = 2 * np.pi * (np.arange(points) / points + turn)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _pebble(rng: np.random.Generator) -> np.ndarray:
    """Return a random smooth outline: a circle bent by its second and third harmonics."""
    circle = _circle(90)
    angle = np.arctan2(circle[:, 1], circle[:, 0])
    (phase2, phase3), (bend2, bend3) = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0, 0.14, 2)
    radius = 1 + bend2 * np.cos(2 * angle + phase2) + bend3 * np.cos(3 * angle + phase3)
    return circle * radius[:, None]


def _star() -> np.ndarray:
    return _circle(10) * np.where(np.arange(10) % 2, 0.45, 1.0)[:, None]


def _cross() -> np.ndarray:
    arm, end = 0.32, 0.95
    corner = np.array([[-arm, -end], [arm, -end], [arm, -arm]])
    return np.concatenate([corner @ _rotation(quarter * np.pi / 2) for quarter in range(4)])


def _heart() -> np.ndarray:
    """Return the usual heart curve, x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y - 2.5], axis=1) / 16


OUTLINES: dict[str, Callable[[], list[np.ndarray]]] = {
    "disc": lambda: [_circle(72)],
    "square": lambda: [_circle(4, turn=0.125)],
    "triangle": lambda: [_circle(3)],
    "star": lambda: [_star()],
    "ring": lambda: [_circle(72), 0.5 * _circle(72)],
    "cross": lambda: [_cross()],
    "heart": lambda: [_heart()],
}


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_jpeg(path: Path, rgb: np.ndarray) -> None:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    path.write_bytes(encoded.tobytes())


def _write_mask(path: Path, mask: np.ndarray) -> None:
    png = Image.fromarray(mask)
    png.putpalette(voc_palette(256).tobytes())
    png.save(path)
