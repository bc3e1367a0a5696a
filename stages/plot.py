"""Draw the pictures of one model, with the data behind them."""

import argparse

import numpy as np

from parity.core.cli import log, run
from parity.core.files import new_directory, reading
from parity.core.params import entry, load_params
from parity.core.paths import confusion_path, plot_data_folder, plot_folder
from parity.evaluation.pictures.gallery import draw_gallery, read_gallery, read_mask_colors
from parity.evaluation.pictures.per_class import draw_confusion, draw_iou
from parity.evaluation.plot_data import write_per_class
from parity.evaluation.results import read_results
from parity.evaluation.scores import class_iou, class_recall
from parity.preprocessing.splits import read_classes


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.plot", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    model, dpi = entry(params, "models", name), params.plot.dpi
    results = read_results(name)
    classes = read_classes(model.preprocess)
    path = confusion_path(name)
    with reading(path), np.load(path) as arrays:
        confusion = {backend: arrays[backend] for backend in arrays.files}
    score = class_recall if model.task == "classification" else class_iou
    per_class = {backend: score(counts) for backend, counts in confusion.items()}

    with new_directory(plot_data_folder(name)) as out:
        write_per_class(out / "per_class.csv", classes, per_class)
    with new_directory(plot_folder(name)) as out:
        if model.task == "classification":
            draw_confusion(out / "confusion.png", results, classes, confusion, dpi)
        else:
            draw_iou(out / "iou.png", results, classes, per_class, dpi)
            count = params.plot.gallery_images
            rows = read_gallery(name, model.preprocess, results.reference, count)
            colors = read_mask_colors(model.preprocess)
            draw_gallery(out / "gallery.png", results, rows, classes, colors, dpi)
    log(f"{name}: plotted to {plot_folder(name)}")


if __name__ == "__main__":
    run(main)
