"""Try a model on one image, in OpenCV and in PyTorch: `make classify` and `make segment`.

What OpenCV does is what the stand-alone scripts run_onnx.py and segment.py do; PyTorch gets the
very same blob. Exit code 1 where the two answers differ.
"""

import stat
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from parity.backends.contract import LABELS, Forward
from parity.backends.opencv import check_opencv
from parity.core.class_ids import predicted_classes
from parity.core.cli import InputError, log, run
from parity.core.machine import cores
from parity.core.params import PARAMS, Params, Task, entry, load_params
from parity.core.paths import dataset_path, onnx_path, weights_path
from parity.datasets.dataset import Dataset
from parity.evaluation.scores import Parity
from tools import run_onnx as classify
from tools import segment

SCRIPTS: dict[Task, ModuleType] = {"classification": classify, "segmentation": segment}
CLOSE = 1e-3  # the largest difference of the logits, relative, of answers that agree,
SAME = 99.9  # and the least percentage of pixels with the same class: some are ties


def main(argv: list[str] | None = None) -> None:
    parser = classify.Parser(prog="tools.demo", description=__doc__)
    parser.add_argument("task", choices=SCRIPTS)
    parser.add_argument("--model", help="an entry of `models` in params.yaml; default: the first")
    parser.add_argument("--image", help="default: the first that the model is evaluated on")
    parser.add_argument("--verbose", action="store_true", help="print the names of the layers")
    parser.add_argument("--show", action="store_true", help="show the picture in a window as well")
    args = parser.parse_args(argv)

    params = load_params()
    check_opencv(params.opencv)
    name = find_model(args.task, args.model, params)
    image = Path(args.image) if args.image else None
    if image:
        check_image(image)
    make_missing(name, params, with_dataset=not image)
    image = image or first_image(name, params)
    if not compare(name, image, params, args.verbose, args.show):
        sys.exit(1)


def find_model(task: Task, name: str | None, params: Params) -> str:
    """Return the name of the model, or of the first for the task; raises InputError if it is not
    for the task."""
    if not name:
        names = [name for name, model in params.models.items() if model.task == task]
        if not names:
            raise InputError(f"{PARAMS}: models: found none for {task}")
        return names[0]
    model = entry(params, "models", name)
    if model.task != task:
        right = SCRIPTS[model.task].__name__.rpartition(".")[2]
        raise InputError(f"{PARAMS}: models.{name} is for {model.task}: use `make {right}`")
    return name


def check_image(path: Path) -> None:
    """Refuse a file that is not there or no image, before what takes minutes."""
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if not is_file:
        raise InputError(f"{path}: not a file; expected an image")
    classify.read_image(path)


def make_missing(name: str, params: Params, with_dataset: bool) -> None:
    """Let DVC make the model's files, and the dataset's if it is needed, where they are missing."""
    dataset = entry(params, "preprocess", params.models[name].preprocess).dataset
    targets = []
    if not (onnx_path(name).exists() and weights_path(name).exists()):
        targets.append(f"export_onnx@{name}")
    if with_dataset and not dataset_path(dataset).exists():
        targets.append(f"fetch@{dataset}")
    if targets:
        command = ["dvc", "repro", *targets]
        log(f"{name}: not there yet, making it: {' '.join(command)}")
        if wait_for([sys.executable, "-m", *command]):
            raise InputError(f"{name}: `{' '.join(command)}` failed, as it says above")


def wait_for(command: list[str]) -> int:
    """Run a command, its output on stderr, and return its exit code. Ctrl-C, which the command
    gets as well, is left to it: killed, DVC would leave its stage running, or half of dvc.lock."""
    process = subprocess.Popen(command, stdout=sys.stderr)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def first_image(name: str, params: Params) -> Path:
    """The first image of the val split of the model's dataset."""
    profile = entry(params, "preprocess", params.models[name].preprocess)
    dataset = Dataset.load(dataset_path(profile.dataset))
    image = Path(dataset.root) / dataset.val[0].image
    check_image(image)
    return image


def compare(name: str, image: Path, params: Params, verbose: bool, show: bool) -> bool:
    """Print and draw what OpenCV and its reference make of an image; return whether they agree."""
    task = params.models[name].task
    script = SCRIPTS[task]
    args = script.parse_flags(None, [f"--model={onnx_path(name)}", f"--input={image}"])
    metadata, fixed = script.read_model(args.model)
    how = script.preprocessing(args, metadata, fixed, {})
    classes = script.read_classes(None, metadata)
    pixels = script.read_image(image)
    blob = script.blob_of(pixels, how)
    print(f"{name} on {image} ({pixels.shape[1]}x{pixels.shape[0]}), blob {blob.shape}")
    print(f"preprocessing ({how.source}): {how.flags()}")

    cv2.setNumThreads(params.opencv.threads or cores())
    network = script.Network(args.model, args, {"opencv": params.opencv.model_dump()})
    print(f"{network.title}: {len(network.layers)} layers")
    if verbose:
        print(*network.layers, sep="\n")
    outputs, answers, times = {}, {}, {}
    outputs["OpenCV"], times["OpenCV"] = network.run(blob)
    answers["OpenCV"] = script.decide(outputs["OpenCV"], classes)
    print(f"output {outputs['OpenCV'].shape}, {times['OpenCV']:.1f} ms")
    print(*script.report(answers["OpenCV"], classes), sep="\n")

    reference, version, forward = load_reference(name, params, metadata)
    outputs[reference], times[reference] = second_pass(forward, blob)
    answers[reference] = script.decide(outputs[reference], classes)
    print(f"{reference} {version}")
    print(f"output {outputs[reference].shape}, {times[reference]:.1f} ms")
    print(*script.report(answers[reference], classes), sep="\n")

    agree, verdict = judge(task, *outputs.values())
    print(f"{name}: OpenCV and {reference} {verdict}")
    if task == "classification":
        picture = script.draw(pixels, answers["OpenCV"], classes, times["OpenCV"], script.STILL)
    else:
        picture = side_by_side(pixels, answers, times, classes)
    script.Viewer(args.output, show).picture(f"{name}-{image.stem}", picture)
    return agree


def load_reference(name: str, params: Params, metadata: dict[str, str]) -> tuple[str, str, Forward]:
    """Return the label, the version and the forward pass of what OpenCV is compared with: PyTorch,
    or ONNX Runtime for a model that is an ONNX file from the start."""
    model = params.models[name]
    if model.onnx:
        import onnxruntime

        from parity.backends.onnxruntime import load_onnxruntime

        forward = load_onnxruntime(onnx_path(name), params.onnxruntime)
        return LABELS["onnxruntime"], onnxruntime.__version__, forward
    import torch

    from parity.backends.pytorch import load_pytorch
    from parity.networks.network import saved_network

    network = saved_network(name, model)
    return LABELS["pytorch"], torch.__version__, load_pytorch(network, params.pytorch)


def second_pass(forward: Forward, blob: np.ndarray) -> tuple[np.ndarray, float]:
    """The output for a blob, and the milliseconds that it took: the first pass also allocates."""
    forward(blob)
    began = time.perf_counter()
    output = forward(blob)
    return output, 1e3 * (time.perf_counter() - began)


def judge(task: Task, opencv: np.ndarray, reference: np.ndarray) -> tuple[bool, str]:
    """Whether two outputs of one image agree, and by how much they differ, in words."""
    if opencv.shape != reference.shape:
        return False, f"differ: outputs of shape {opencv.shape} and {reference.shape}"
    parity = Parity()
    with np.errstate(invalid="ignore"):  # of infinite logits
        parity.update_logits(opencv, reference)
    parity.update_classes(predicted_classes(opencv), predicted_classes(reference))
    scores = parity.scores()
    rel = scores["rel"] if scores["linf"] else 0.0  # outputs may be all zero, and the same
    agree = rel <= CLOSE and scores["agreement"] >= SAME
    if task == "classification":
        same = "the same class" if scores["agreement"] else "another class"
    else:
        same = f"the same class in {scores['agreement']:.6g} % of the pixels"
    by = f"logits at most {scores['linf']:.1e} apart, {rel:.1e} of the largest"
    return agree, f"{'agree' if agree else 'differ'}: {same}, {by}"


def side_by_side(
    image: np.ndarray,
    masks: dict[str, np.ndarray],
    times: dict[str, float],
    classes: segment.Classes,
) -> np.ndarray:
    """The image, the mask of each backend with its time above it, and the legend of the colours:
    uint8 (H, W, 3), BGR."""
    panels = {f"{image.shape[1]}x{image.shape[0]}": image}
    for backend, mask in masks.items():
        caption = f"{backend}, {times[backend]:.1f} ms"
        panels[caption] = segment.color_mask(mask, classes, image.shape)
    columns = []
    for caption, panel in panels.items():
        body = segment.fit_canvas(panel)
        line = segment.line_height(body.shape)
        head = np.full((line + line // 3, body.shape[1], 3), segment.DARK, np.uint8)
        text = segment.shorten(caption, body.shape[1] - line, line)
        segment.put_text(head, text, line // 3, line // 6, line)
        gap = np.full((len(head) + len(body), line // 3, 3), segment.DARK, np.uint8)
        columns += [cv2.vconcat([head, body]), gap]
    picture = cv2.hconcat(columns[:-1])
    found = segment.shares(masks["OpenCV"])
    shown = segment.always_listed(classes) or sorted(
        set().union(*(segment.shares(mask) for mask in masks.values()))
    )
    rows = segment.legend(shown, found, classes, picture.shape[1], line)
    return cv2.vconcat([picture, *rows])


if __name__ == "__main__":
    run(main)
