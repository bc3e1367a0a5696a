"""What this pipeline replaces: one loop that decodes each image and runs it in PyTorch and OpenCV.

A yardstick for `make benchmark-pipeline`, which runs it beside the stages. As a script of one's own
does, it imports torchvision with PyTorch's compiler, which the stages postpone.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision  # noqa: F401

from parity.core.cli import InputError
from parity.core.params import CropParams, load_params, of_model
from parity.core.paths import dataset_path, mended_path
from parity.core.user_code import run
from parity.datasets.dataset import Dataset
from parity.networks.network import saved_network
from parity.preprocessing.profile import Size, read_normalization, read_size

BATCH_SIZE = {"classification": 50, "segmentation": 1}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.benchmark_loop", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    model = params.models[name]
    profile = params.preprocess[model.preprocess]
    dataset = Dataset.load(dataset_path(profile.dataset))
    size = read_size(model.preprocess, model.task)
    normalization = read_normalization(model.preprocess)

    network = saved_network(name, model)
    opencv = cv2.dnn.readNetFromONNX(str(mended_path(name)))
    same = total = 0
    for start in range(0, len(dataset.val), BATCH_SIZE[model.task]):
        items = dataset.val[start : start + BATCH_SIZE[model.task]]
        images = [prepare(Path(dataset.root) / item.image, size, **normalization) for item in items]
        blob = np.stack(images).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            expected = network(torch.from_numpy(blob)).numpy().argmax(axis=1)
        opencv.setInput(blob)
        found = opencv.forward().argmax(axis=1)
        same, total = same + int((found == expected).sum()), total + expected.size
    print(json.dumps({"images": len(dataset.val), "agreement": same / total}))


def prepare(path: Path, size: Size, mean: list[float], std: list[float]) -> np.ndarray:
    """Decode an image, resize and crop it, and return float32 (H, W, 3): (RGB/255 - mean)/std."""
    image = cv2.imread(str(path))
    if image is None:
        raise InputError(f"{path}: OpenCV cannot read it; expected an image")
    if isinstance(size, CropParams):
        image = cv2.resize(image, resized(image, size))
        top, left = ((side - size.crop) // 2 for side in image.shape[:2])
        image = image[top : top + size.crop, left : left + size.crop]
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    return (image - np.float32(mean)) / np.float32(std)


def resized(image: np.ndarray, size: CropParams) -> tuple[int, int]:
    """Return the width and height of an image after resizing."""
    if not size.keep_aspect:
        return size.resize, size.resize
    height, width = image.shape[:2]
    scale = size.resize / min(height, width)
    return int(width * scale + 0.5), int(height * scale + 0.5)


if __name__ == "__main__":
    run(main)
