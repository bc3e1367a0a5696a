"""The stage `plot`: which pictures and data it writes, by task."""

from pathlib import Path

import numpy as np
from helpers.images import noise
from helpers.params import write_params
from helpers.results import BACKENDS, faithful

from parity.core.paths import confusion_path, prediction_folder, profile_folder
from parity.evaluation.results import write_results
from parity.inference.predictions import MaskWriter
from parity.preprocessing.splits import Split, write_lines
from stages import plot

CONFUSION = np.array([[3, 1, 0], [0, 2, 2]])


def write_evaluation(name: str, profile: str) -> None:
    """Write classes and a confusion matrix by hand, as preprocess and evaluate would."""
    profile_folder(profile).mkdir(parents=True, exist_ok=True)
    write_lines(profile_folder(profile) / "classes.txt", ["cat", "dog"])
    confusion_path(name).parent.mkdir(parents=True)
    np.savez_compressed(confusion_path(name), **dict.fromkeys(BACKENDS, CONFUSION))


def per_class(name: str) -> list[str]:
    return Path(f"plots/data/{name}/per_class.csv").read_text().splitlines()


def test_a_classification_has_a_confusion_matrix_and_the_recall_of_each_class(project):
    write_evaluation("squeezenet1_1", "imagenet")
    write_results(faithful())
    old = Path("plots/data/squeezenet1_1/old.json")
    old.parent.mkdir(parents=True)
    old.touch()
    plot.main(["squeezenet1_1"])
    assert [path.name for path in Path("plots/models/squeezenet1_1").iterdir()] == ["confusion.png"]
    assert per_class("squeezenet1_1")[:2] == [
        "class,backend,label,value",
        'cat,pytorch,"cat, pytorch",75.0',
    ]
    assert 'dog,opencv,"dog, opencv",50.0' in per_class("squeezenet1_1")
    assert not old.exists(), "the folder holds what this run wrote"


def test_a_segmentation_has_the_iou_of_each_class_and_a_gallery(project):
    entry = {"task": "segmentation", "preprocess": "voc", "weights": "random"}
    write_params(project, {"models": {"fcn_resnet50": entry}})
    write_evaluation("fcn_resnet50", "voc")
    write_results(faithful(model="fcn_resnet50", task="segmentation"))
    folder = profile_folder("voc")
    for kind in ("images", "masks"):
        (folder / "val" / kind).mkdir(parents=True)
    np.save(folder / "colors.npy", np.array([[0, 0, 0], [128, 0, 0]], np.uint8))
    write_lines(folder / "val/names.txt", ["a"])
    np.save(folder / "val/images/a.npy", noise(8, 12))
    np.save(folder / "val/masks/a.npy", np.zeros((8, 12), np.uint8))
    for backend in BACKENDS:
        out = prediction_folder("fcn_resnet50", backend)
        out.mkdir(parents=True)
        writer = MaskWriter(out, Split("voc", "val", "segmentation"), keep_logits=0)
        writer.write(0, np.zeros((1, 2, 8, 12), np.float32))
        writer.close()
    plot.main(["fcn_resnet50"])
    names = sorted(path.name for path in Path("plots/models/fcn_resnet50").iterdir())
    assert names == ["gallery.png", "iou.png"]
    assert 'cat,pytorch,"cat, pytorch",75.0' in per_class("fcn_resnet50")
