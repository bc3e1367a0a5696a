"""What the report shows of a model beyond its results: examples, classes, how to feed it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np
from pydantic import TypeAdapter

from parity.core.files import read_json, reading, write_json
from parity.core.params import CropParams, ModelParams
from parity.core.paths import confusion_path, details_path, mended_path
from parity.evaluation.scores import by_lowest_iou, class_iou, most_confused
from parity.preprocessing.profile import read_exif, read_normalization, read_size
from parity.preprocessing.splits import Split, read_classes
from parity.report.examples import Examples, find_examples

MOST_ROWS = 12  # of confused pairs, or of classes


@dataclass(frozen=True)
class ClassRow:
    """A class with its IoU in percent by backend, or a pair `name`, `taken_for` of classes with the
    number of images of the first that each backend takes for the second."""

    name: str
    taken_for: str | None
    figures: dict[str, float | None]


@dataclass(frozen=True)
class Details:
    """What the page needs of a model.

    `flags` feed it on the device as it was evaluated. `classes` has the rows in which the backends
    do worst; `class_count` counts all classes.
    """

    file_mb: float
    flags: str
    class_count: int
    classes: tuple[ClassRow, ...]
    examples: Examples


_DETAILS = TypeAdapter(Details)


def gather_details(name: str, model: ModelParams) -> Details:
    """Collect what the stages before left of a model; raises Damaged."""
    classes = read_classes(model.preprocess)
    path = confusion_path(name)
    with reading(path), np.load(path) as arrays:
        confusion = {backend: arrays[backend] for backend in arrays.files}
    rows = confused_pairs if model.task == "classification" else worst_classes
    return Details(
        file_mb=mended_path(name).stat().st_size / 1e6,
        flags=device_flags(model),
        class_count=len(classes),
        classes=tuple(rows(classes, confusion)),
        examples=find_examples(
            name, Split(model.preprocess, "val", model.task), classes, model.preprocess
        ),
    )


def write_details(name: str, details: Details) -> None:
    write_json(details_path(name), asdict(details))


def read_details(name: str) -> Details:
    return read_json(details_path(name), _DETAILS.validate_python)


def device_flags(model: ModelParams) -> str:
    """Return the preprocessing as flags of tools/run_onnx.py, which give the same blob."""
    values = read_normalization(model.preprocess)
    size = read_size(model.preprocess, model.task)
    mean = [Fraction(str(value)) * 255 for value in values["mean"]]
    words = ["--scale", "1/255", "--mean", *map(_decimal, mean), "--std", *map(str, values["std"])]
    words.append("--rgb")
    if not isinstance(size, str):
        resize, crop = size.resize, size.crop if isinstance(size, CropParams) else None
        keep_aspect = crop is None or size.keep_aspect
        words += ["--rsz-height", str(resize), "--rsz-width", str(resize)]
        words += ["--keep-aspect" if keep_aspect else "--no-keep-aspect"]
        words += ["--height", str(crop), "--width", str(crop), "--crop"] if crop else []
        words += ["--interpolation", size.interpolation]
        words += ["--antialias"] if size.antialias else []
    exif = read_exif(model.preprocess)
    return " ".join(words + (["--exif", exif] if exif != "ignore" else []))


def _decimal(value: Fraction) -> str:
    return np.format_float_positional(float(value), trim="-")


def confused_pairs(classes: Sequence[str], confusion: Mapping[str, np.ndarray]) -> list[ClassRow]:
    """Return the pairs of classes that a backend confuses most often; the confusion matrices are
    those of `scores.count_pairs`."""
    most = np.max([counts[:, :-1] for counts in confusion.values()], axis=0)
    return [
        ClassRow(
            classes[true],
            classes[taken],
            {backend: float(counts[true, taken]) for backend, counts in confusion.items()},
        )
        for true, taken in most_confused(most, MOST_ROWS)
    ]


def worst_classes(classes: Sequence[str], confusion: Mapping[str, np.ndarray]) -> list[ClassRow]:
    """Return the classes with the smallest IoU in any backend, of those that have one."""
    values = {backend: class_iou(counts) for backend, counts in confusion.items()}
    return [
        ClassRow(
            classes[place],
            None,
            {backend: float(of_classes[place]) for backend, of_classes in values.items()},
        )
        for place in by_lowest_iou(values)[:MOST_ROWS].tolist()
    ]
