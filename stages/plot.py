"""Draw what is worth seeing of one model, with the data behind it, and gather its results."""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import binary_dilation

from parity.backends.contract import LABELS, failure_text, reference_of
from parity.core.class_ids import IGNORED
from parity.core.cli import log, run
from parity.core.files import new_directory, read_json, write_json
from parity.core.params import entry, load_params
from parity.core.paths import (
    benchmark_path,
    confusion_path,
    metrics_path,
    plot_data_folder,
    plot_folder,
    profile_folder,
    source_path,
    stability_path,
)
from parity.evaluation.charts import (
    FAINT,
    INK,
    backend_legend,
    bars_height,
    grouped_bars,
    header,
    new_figure,
    short,
)
from parity.evaluation.scores import class_iou
from parity.inference.predictions import predicting_backends, read_predicted_mask
from parity.preprocessing.splits import Split, read_classes

# The score that stands for a task, and the second one.
HEADLINES = {"classification": ("acc@1", "acc@5"), "segmentation": ("mean_iou", "pixel_acc")}
VOID = (224, 224, 192)  # the colour of Pascal VOC
DIFFERENT = (230, 0, 126)  # in no palette of masks, and nothing else in the panel has a colour
CELL_CLASSES = 25  # a confusion matrix of more has no values in the cells,
NAMED_CLASSES = 60  # of more no names on the axes
HEADS = ("image", "ground truth", "{reference}", "OpenCV", "{reference} and OpenCV differ")
MESSAGE = 200  # letters of a failure's message, which may be long
GALLERY_WIDTH = 11.5  # inches


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.plot", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model, dpi = entry(params, "models", name), params.plot.dpi
    metrics, benchmark = read_json(metrics_path(name)), read_json(benchmark_path(name))
    row = result_row(name, model.task, metrics, benchmark)
    published = read_json(source_path(name))["published"]
    row["published"] = published["metrics"].get(row["metric"]) if published else None
    row["stability"] = read_json(stability_path(name))
    classes = read_classes(model.preprocess)
    with np.load(confusion_path(name)) as arrays:
        confusion = {backend: arrays[backend] for backend in arrays.files}
    per_class = class_recall if model.task == "classification" else class_iou
    values = {backend: per_class(confusion[backend]) for backend in confusion}

    with new_directory(plot_data_folder(name)) as out:
        write_json(out / "row.json", row)
        write_per_class(out / "per_class.csv", classes, values)
    with new_directory(plot_folder(name)) as out:
        if model.task == "classification":
            draw_confusion(out / "confusion.png", row, classes, confusion, dpi)
        else:
            draw_iou(out / "iou.png", row, classes, values, dpi)
            colors = mask_colors(model.preprocess)
            count = params.plot.gallery_images
            rows = gallery_rows(name, model.preprocess, row["reference"], count)
            draw_gallery(out / "gallery.png", row, rows, classes, colors, dpi)
    log(f"{name}: plotted to {plot_folder(name)}")


def result_row(name: str, task: str, metrics: dict, benchmark: dict) -> dict:
    """What the summary of all models needs to know of one, by what was scored and timed. A backend
    may have failed in the one and not in the other; what it failed in first is told."""
    metric, second = HEADLINES[task]
    backends = [backend for backend in LABELS if backend in metrics]
    timed = [backend for backend in LABELS if backend in benchmark]
    reference = reference_of(backends)
    failures = benchmark.get("failures", {}) | metrics.get("failures", {})
    return {
        "model": name,
        "task": task,
        "images": metrics["images"],
        "metric": metric,
        "accuracy": {backend: metrics[backend][metric] for backend in backends},
        "second_metric": second,
        "second_accuracy": {backend: metrics[backend][second] for backend in backends},
        "reference": reference,
        "parity": metrics["parity"],
        "nonfinite": {backend: metrics[backend]["nonfinite"] for backend in backends},
        "failures": {name: failures[name] for name in LABELS if name in failures},
        "median_ms": {backend: benchmark[backend]["median_ms"] for backend in timed},
        "p95_ms": {backend: benchmark[backend]["p95_ms"] for backend in timed},
        "ratio": benchmark[f"opencv_over_{reference}"],
        "ratio_interval": benchmark[f"opencv_over_{reference}_interval"],
        "runs": benchmark["runs"],
        "blob": benchmark["blob"],
        "environment": benchmark["environment"],
    }


def class_recall(confusion: np.ndarray) -> np.ndarray:
    """The share of each class's images that is found, percent: (C,), NaN of a class without."""
    return row_percent(confusion).diagonal()


def row_percent(confusion: np.ndarray) -> np.ndarray:
    """A confusion matrix in percent of its rows, (C, C); NaN where a class has no images."""
    total = confusion.sum(axis=1, keepdims=True)
    return 100 * confusion / np.where(total == 0, np.nan, total)


def write_per_class(path: Path, classes: list[str], values: dict[str, np.ndarray]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("class", "backend", "label", "value"))
        for index, name in enumerate(classes):
            for backend, row in values.items():
                if not np.isnan(row[index]):
                    writer.writerow((name, backend, f"{name}, {backend}", float(row[index])))


def draw_confusion(
    path: Path, row: dict, classes: list[str], confusion: dict[str, np.ndarray], dpi: int
) -> None:
    """Draw what OpenCV takes each class for, in percent of the class's images, or the reference
    where OpenCV failed. A last column, if need be, is of the images without a class."""
    backend = "opencv" if "opencv" in confusion else row["reference"]
    unclassed = confusion[backend][:, -1].any()
    predicted = [*classes, "none (NaN)"] if unclassed else classes
    percent = row_percent(confusion[backend])[:, : len(predicted)]
    side = float(np.clip(0.45 * len(classes), 3.5, 8.5))
    named = len(classes) <= NAMED_CLASSES
    with new_figure(path, side + 2.4, side + (1.2 if named else 0.3), dpi) as figure:
        score = percent_text(row["accuracy"][backend])
        empty = "; grey: no image" if np.isnan(percent).any() else ""
        header(
            figure,
            f"{row['model']}: confusion matrix in {LABELS[backend]}",
            f"percent of the images of each true class; {row['metric']} {score}"
            f" of {row['images']:,} images{empty}{failed_text(row)}",
        )
        axes = figure.subplots()
        # Of many classes a mistake is a faint dot: the cube root of the share brings it out.
        ticks = (0, 25, 50, 75, 100) if named else (0, 1, 5, 25, 100)
        norm = PowerNorm(1 if named else 1 / 3, 0, 100)
        blues = colormaps["Blues"].with_extremes(bad="#ececec")
        image = axes.imshow(percent, cmap=blues, norm=norm)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=ticks, format="%d %%")
        bar.outline.set_visible(False)
        axes.spines[:].set_visible(False)
        order = "" if named else f", {len(classes):,} in the order of their ids"
        axes.set(xlabel=f"predicted class{order}", ylabel=f"true class{order}")
        name_classes(axes, classes if named else [], predicted if named else [])
        if len(classes) <= CELL_CLASSES:
            write_cells(axes, percent)


def failed_text(row: dict) -> str:
    """Why OpenCV has no scores, if so, as a line of its own of a heading."""
    if "opencv" in row["accuracy"]:
        return ""
    return "\n" + short(failure_text("opencv", row["failures"]["opencv"]), MESSAGE)


def name_classes(axes: Axes, true: list[str], predicted: list[str]) -> None:
    size = 8 if len(true) <= CELL_CLASSES else 6.5
    labels = [short(name, 24) for name in predicted]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size, color=INK)
    axes.set_yticks(range(len(true)), [short(name, 24) for name in true], fontsize=size)
    axes.tick_params(length=0)


def write_cells(axes: Axes, percent: np.ndarray) -> None:
    for row, column in np.argwhere(percent > 0):
        value = percent[row, column]
        text = f"{value:.0f}" if value >= 0.5 else "<1"
        color = "white" if value > 55 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color)


def draw_iou(
    path: Path, row: dict, classes: list[str], values: dict[str, np.ndarray], dpi: int
) -> None:
    """Draw the IoU of each class, and their mean, in each backend."""
    names = [*classes, "mean of the classes"]
    bars = {
        backend: [None if np.isnan(value) else value for value in values[backend]]
        + [row["accuracy"][backend]]
        for backend in values
    }
    with new_figure(path, 8, bars_height(len(names)) + 0.9, dpi) as figure:
        header(
            figure,
            f"{row['model']}: intersection over union by class",
            f"percent, the pixels of {row['images']:,} images together; the pixels named void left"
            f" out{failed_text(row)}",
        )
        axes = figure.subplots()
        axes.set_xlim(0, 107)
        grouped_bars(axes, names, bars, lambda value: f"{value:.1f}")
        axes.axhline(len(classes) - 0.5, color=FAINT, linewidth=0.8)
        axes.set(xlabel="IoU, %", xticks=range(0, 101, 20))
        backend_legend(figure, values)


def mask_colors(profile: str) -> np.ndarray:
    """The colour of every class id, uint8 (256, 3): the dataset's own, and that of void."""
    colors = np.load(profile_folder(profile) / "colors.npy")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORED] = VOID
    return table


@dataclass
class GalleryRow:
    """An image, uint8 (H, W, 3), and the masks of its pixels, uint8 (H, W); None of OpenCV where it
    failed."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    reference: np.ndarray
    opencv: np.ndarray | None


def gallery_rows(model: str, profile: str, reference: str, count: int) -> list[GalleryRow]:
    """The first `count` images of the val split, or all if there are fewer."""
    split = Split(profile, "val", "segmentation")
    has_opencv = "opencv" in predicting_backends(model)
    return [
        GalleryRow(
            name=name,
            image=split.images(index, index + 1)[0],
            truth=split.mask(index),
            reference=read_predicted_mask(model, reference, name),
            opencv=read_predicted_mask(model, "opencv", name) if has_opencv else None,
        )
        for index, name in enumerate(split.names[:count])
    ]


def draw_gallery(
    path: Path,
    result: dict,
    rows: list[GalleryRow],
    classes: list[str],
    colors: np.ndarray,
    dpi: int,
) -> None:
    """Draw a row an image: the image, the true and the predicted masks, where these differ."""
    reference = LABELS[result["reference"]]
    heights = [panel_height(row.image) for row in rows]
    with new_figure(path, GALLERY_WIDTH, sum(heights) + 0.9, dpi) as figure:
        header(
            figure,
            f"{result['model']}: masks in {reference} and OpenCV",
            f"the first {len(rows)} of {result['images']:,} images; right: percent of the pixels"
            f" that have a true class; differing pixels are drawn enlarged{failed_text(result)}",
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.05)
        grid = figure.subplots(len(rows), len(HEADS), squeeze=False, height_ratios=heights)
        for panels, row in zip(grid, rows, strict=True):
            draw_row(panels, row, colors)
        above = {"xytext": (0, 17), "textcoords": "offset points"}
        for axes, head in zip(grid[0], HEADS, strict=True):
            axes.annotate(
                head.format(reference=reference),
                (0, 1),
                xycoords="axes fraction",
                fontweight="bold",
                **above,
            )
        masks = [mask for row in rows for mask in (row.truth, row.reference, row.opencv)]
        shown = {index for mask in masks if mask is not None for index in np.unique(mask).tolist()}
        class_legend(figure, shown, classes, colors)


def panel_height(image: np.ndarray) -> float:
    """The inches of a row: as the panel's width asks, and no more than 1.4 times that."""
    width = GALLERY_WIDTH / len(HEADS) - 0.24
    return width * min(image.shape[0] / image.shape[1], 1.4) + 0.27


def draw_row(panels: Sequence[Axes], row: GalleryRow, colors: np.ndarray) -> None:
    """Fill the five panels of a row of the gallery."""
    height, width = row.truth.shape
    panel_pictures = [
        (row.image, short(row.name, 32)),
        (colors[row.truth], f"{width} x {height} pixels"),
        (colors[row.reference], right_text(row.reference, row.truth)),
    ]
    if row.opencv is None:
        panel_pictures += [(np.full_like(row.image, 240), "no output")] * 2
    else:
        differ = (row.reference != row.opencv) | (row.opencv == IGNORED)  # NaN is no answer
        counted = f"{differ.sum():,} of {differ.size:,} pixels ({100 * differ.mean():.2g} %)"
        panel_pictures.append((colors[row.opencv], right_text(row.opencv, row.truth)))
        panel_pictures.append((marked(row.image, differ), counted))
    for axes, (picture, caption) in zip(panels, panel_pictures, strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.set_title(caption, fontsize=8)
        axes.set(xticks=[], yticks=[], anchor="NW")
        axes.spines[:].set(visible=True, color="#b0b0b0")


def marked(image: np.ndarray, differ: np.ndarray) -> np.ndarray:
    """The image in pale grey, the differing pixels, thickened to be seen, in colour: (H, W, 3)."""
    grey = 96 + image.mean(axis=2, keepdims=True) * 0.62
    picture = np.repeat(grey, 3, axis=2).astype(np.uint8)
    # A few pixels would be overlooked; of many, a thick mark each would look like a disaster.
    shrink = 150 if differ.mean() < 1e-4 else 500
    thickened = binary_dilation(differ, iterations=1 + max(differ.shape) // shrink)
    picture[thickened] = DIFFERENT
    return picture


def right_text(mask: np.ndarray, truth: np.ndarray) -> str:
    counted = truth != IGNORED
    if not counted.any():
        return "no pixel has a true class"
    return f"right: {100 * (mask == truth)[counted].mean():.1f} %"


def class_legend(figure: Figure, shown: set[int], classes: list[str], colors: np.ndarray) -> None:
    """Name the colours of the classes in the picture, below it."""
    names = {index: short(classes[index], 24) for index in sorted(shown - {IGNORED})}
    if IGNORED in shown:
        names[IGNORED] = "void"
    patches = [
        Patch(facecolor=colors[index] / 255, edgecolor="#808080", linewidth=0.5, label=label)
        for index, label in names.items()
    ]
    longest = max(len(label) for label in names.values())
    columns = max(1, int(GALLERY_WIDTH / (0.6 + 0.085 * longest)))
    figure.legend(handles=patches, loc="outside lower center", ncols=min(columns, len(names)))


def percent_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


if __name__ == "__main__":
    run(main)
