"""Try a model on one image, in OpenCV and in its reference: `make classify` and `make segment`.

tools/run_onnx.py, in a process of its own, does what OpenCV does on a device. The reference, which
is PyTorch, or ONNX Runtime for a model that starts as an ONNX file, gets the very same blob. Exit
code 1 if the outputs differ by more than the gate allows.
"""

import argparse
import os
import stat
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from parity.backends.opencv import check_opencv
from parity.bundle.device import answer_of, read_usage, settings_flags
from parity.core.class_ids import predicted_classes
from parity.core.cli import InputError, log, wait_for
from parity.core.dvc_command import DVC
from parity.core.files import new_file
from parity.core.load import OtherLoad, excess_of_load
from parity.core.markdown import agreement_text
from parity.core.params import (
    PARAMS,
    Exif,
    OpenCVParams,
    Params,
    Task,
    entry,
    load_params,
    of_model,
    setting_key,
)
from parity.core.paths import dataset_path, mended_path, weights_path
from parity.core.user_code import run
from parity.datasets.dataset import Dataset
from parity.evaluation.charts import truncate
from parity.evaluation.pictures.answers import Answer, draw_answers
from parity.evaluation.scores import Parity
from parity.evaluation.verdict import Limits, exceeded, gate_limits, is_within
from parity.faults.exported_file import exported_file
from parity.inference.reference import load_reference
from parity.preprocessing.images import read_image

TARGETS: dict[Task, str] = {"classification": "classify", "segmentation": "segment"}  # of make
PICTURES = Path("plots/demo")
MARK = "run_onnx"  # the Software of a picture in its PNG file, as run_onnx.py marks it
MAX_WINDOW = 1280, 800  # pixels


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.demo", description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TARGETS)
    parser.add_argument("--model", help="an entry of `models` in params.yaml; default: the first")
    parser.add_argument("--image", help="default: the first that the model is evaluated on")
    parser.add_argument("--verbose", action="store_true", help="print the names of the layers")
    parser.add_argument("--show", action="store_true", help="show the picture in a window as well")
    parser.error = refuse
    args = parser.parse_args(argv)

    everything = load_params()
    name = find_model(args.task, args.model, everything)
    params = of_model(everything, name)
    check_opencv(params.opencv, partial(setting_key, everything, name, "opencv"))
    image = Path(args.image) if args.image else None
    if image:
        read_pixels(image)
        check_picture(picture_path(name, image), image)
    make_missing(name, params, with_dataset=not image)
    if not image:
        image = first_image(name, params)
        check_picture(picture_path(name, image), image)
    with exported_file(name, mended=True, is_timed=True) as path:
        agree = compare(name, path, image, params, args.verbose, args.show)
    if not agree:
        sys.exit(1)


def refuse(message: str) -> NoReturn:
    raise InputError(f"{message} (--help explains the flags)")


def find_model(task: Task, name: str | None, params: Params) -> str:
    """Return the name of the model, by default the first of the task; raises InputError if it is
    for another task."""
    if not name:
        names = [name for name, model in params.models.items() if model.task == task]
        if not names:
            raise InputError(f"{PARAMS}: models: found none for {task}")
        return names[0]
    model = entry(params, "models", name)
    if model.task != task:
        right = TARGETS[model.task]
        raise InputError(f"{PARAMS}: models.{name} is for {model.task}: use `make {right}`")
    return name


def read_pixels(path: Path, exif: Exif = "ignore") -> np.ndarray:
    """Decode an image into uint8 (H, W, 3), RGB; raises InputError for anything but an image."""
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if not is_file:  # reading from a pipe or a terminal would not end
        raise InputError(f"{path}: not a file; expected an image")
    return read_image(path, exif)


def picture_path(name: str, image: Path) -> Path:
    return PICTURES / f"{name}-{image.stem}.png"


def check_picture(path: Path, image: Path) -> None:
    """Raise InputError if a picture would replace the image or a file that no demo wrote."""
    try:
        if not os.path.lexists(path):
            return
        if path.exists() and path.samefile(image):
            raise InputError(f"{path}: cannot be written: it is the image itself")
        if path.is_symlink() or not path.is_file() or software(path) != MARK:
            reason = "it is there, and no demo wrote it"
            raise InputError(f"{path}: cannot be written: {reason}; move it or rename the image")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def software(path: Path) -> str | None:
    """Return what a picture says about the program that wrote it."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software")
    except (UnidentifiedImageError, SyntaxError, ValueError):
        return None


def make_missing(name: str, params: Params, with_dataset: bool) -> None:
    """Let DVC make the model's files, and the dataset's if it is needed, where they are missing."""
    dataset = entry(params, "preprocess", params.models[name].preprocess).dataset
    targets = []
    if not (mended_path(name).exists() and weights_path(name).exists()):
        targets.append(f"mend@{name}")
    if with_dataset and not dataset_path(dataset).exists():
        targets.append(f"fetch@{dataset}")
    if targets:
        command = f"dvc repro {' '.join(targets)}"
        log(f"{name}: not there yet, making it: {command}")
        if wait_for([*DVC, "repro", *targets], stdout=sys.stderr):
            raise InputError(f"{name}: `{command}` failed, as it says above")


def first_image(name: str, params: Params) -> Path:
    """Return the first image of the val split of the model's dataset."""
    profile = entry(params, "preprocess", params.models[name].preprocess)
    dataset = Dataset.load(dataset_path(profile.dataset))
    image = Path(dataset.root) / dataset.val[0].image
    read_pixels(image)
    return image


def compare(name: str, path: Path, image: Path, params: Params, verbose: bool, show: bool) -> bool:
    """Print and draw what OpenCV and its reference make of an image; return whether they agree."""
    task = params.models[name].task
    load = OtherLoad()
    text, blob, opencv = run_opencv(path, image, params.opencv, verbose)
    usage = read_usage(path)
    pixels = read_pixels(image, usage.exif)
    classes = usage.classes or [f"class {index}" for index in range(opencv.output.shape[1])]
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    print(f"{name} on {image} ({size}), blob {blob.shape}\n{text}", end="", flush=True)
    version, reference = run_reference(name, blob, params)
    print(f"{reference.label} {version}")
    print(f"output {reference.output.shape}, warm pass {reference.time_ms:.1f} ms")
    print(*table(reference, classes), sep="\n")
    agree, verdict = judge(task, opencv, reference, gate_limits(params, name))
    print(f"{name}: {verdict}")
    if reason := excess_of_load(load.lap(), params.benchmark.max_load):
        print(f"times disturbed: {reason}")

    picture = picture_path(name, image)
    answers = [opencv, reference] if opencv.output.shape == reference.output.shape else [opencv]
    title = f"{name} on {truncate(image.name, 60)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that the font lacks
            with new_file(picture) as partial:
                dpi = params.plot.dpi
                draw_answers(partial, title, verdict, agree, pixels, answers, classes, dpi)
                sign(partial)
    except OSError as error:
        raise InputError(f"{picture}: cannot be written: {error.strerror}") from None
    note = "" if not show or show_picture(picture, task) else " (there is no display to show it on)"
    print(f"picture: {picture}{note}")
    return agree


def sign(path: Path) -> None:
    """Write into a picture which program it is of."""
    signature = PngInfo()
    signature.add_text("Software", MARK)
    with Image.open(path) as picture:
        picture.save(path, format="PNG", pnginfo=signature, dpi=picture.info["dpi"])


def run_opencv(
    path: Path, image: Path, params: OpenCVParams, verbose: bool
) -> tuple[str, np.ndarray, Answer]:
    """Run run_onnx.py; return what it prints, the blob and OpenCV's answer; ends and raises as
    `answer_of` does."""
    flags = [*settings_flags(params), *(["--verbose"] if verbose else [])]
    found = answer_of(path, image, flags)
    return found.text, found.blob, Answer("opencv", found.output, found.time_ms)


def run_reference(name: str, blob: np.ndarray, params: Params) -> tuple[str, Answer]:
    """Return the version and the answer of the reference."""
    backend, version, forward = load_reference(name, params)
    forward(blob)  # the first pass also allocates
    began = time.perf_counter()
    output = forward(blob)
    return version, Answer(backend, output, 1e3 * (time.perf_counter() - began))


def table(answer: Answer, classes: list[str]) -> list[str]:
    """Return an answer as run_onnx.py prints it: the best classes, or those of the pixels."""
    if answer.is_mask:
        counts = np.bincount(answer.mask().reshape(-1), minlength=256)[: len(classes)]
        found = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        percent = 100 * counts / answer.mask().size
        rows = {index: f"{percent[index]:6.2f} %" for index in found}
        head, columns = "name", "pixels"
    else:
        logits, percent = answer.output[0], answer.confidence()
        rows = {index: f"{logits[index]:10.4f}  {percent[index]:6.2f} %" for index in answer.best()}
        head, columns = "label", "     logit   softmax"
    width = max([len(classes[index]) for index in rows] + [len(head)])
    lines = [f"{index:5}  {classes[index]:{width}}  {row}" for index, row in rows.items()]
    return [f"class  {head:{width}}  {columns}", *lines]


def judge(task: Task, opencv: Answer, reference: Answer, limits: Limits) -> tuple[bool, str]:
    """Return whether two answers agree within the gate's limits, and by how much they differ."""
    who, outputs = f"OpenCV and {reference.label}", (opencv.output, reference.output)
    if outputs[0].shape != outputs[1].shape:
        return False, f"{who} differ: outputs of shape {outputs[0].shape} and {outputs[1].shape}"
    parity, classes = Parity(), [predicted_classes(output) for output in outputs]
    with np.errstate(invalid="ignore"):  # infinite logits
        parity.update_logits(*outputs)
    parity.update_classes(*classes)
    parity.update_ties(*classes, reference.output)
    scores = parity.scores()
    is_same = scores.linf == 0  # there is no rel where both are all zero
    excess = None if is_same else exceeded(scores, limits)
    if task == "classification":
        same = "the same class" if scores.agreement else "another class"
    else:
        same = f"the same class in {agreement_text(scores.agreement)} % of the pixels"
    counted = scores.ties and is_within(scores.rel, limits.rel)
    ties = f" ({scores.ties:.3g} % ties)" if counted else ""
    rel = 0 if is_same else scores.rel
    by = f"logits at most {scores.linf:.1e} apart, {rel:.1e} of the largest"
    return not excess, f"{who} {'differ' if excess else 'agree'}: {same}{ties}, {by}" + (
        f" ({excess})" if excess else ""
    )


def show_picture(path: Path, title: str) -> bool:
    """Show a picture until a key is pressed; return False where there is no display."""
    # Without a display OpenCV aborts the process: another one tries.
    probe = [sys.executable, "-c", "import cv2; cv2.namedWindow('probe')"]
    if subprocess.run(probe, capture_output=True).returncode:
        return False
    picture = cv2.imread(str(path))
    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
    height, width = picture.shape[:2]
    share = min(1, MAX_WINDOW[0] / width, MAX_WINDOW[1] / height)
    cv2.resizeWindow(title, round(width * share), round(height * share))
    cv2.imshow(title, picture)
    with suppress(cv2.error):  # Qt knows no window that was closed
        while cv2.waitKey(20) < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1:
            pass
    return True


if __name__ == "__main__":
    run(main)
