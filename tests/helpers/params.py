"""Small parameters, and how a test changes them."""

import copy
import json
from pathlib import Path

from parity.core.params import ModelParams, Task

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

SMALL = {
    "seed": 0,
    "datasets": {
        "textures": {
            "task": "classification",
            "source": "sample",
            "split": "val",
            "train": "train",
            "classes": "classes.txt",
            "shuffle": False,
            "limit": "all",
        },
        "shapes": {
            "task": "segmentation",
            "source": "sample",
            "split": "val",
            "train": "train",
            "classes": "classes.txt",
            "shuffle": False,
            "limit": "all",
        },
    },
    "sample": {
        "classification": {"train": 20, "val": 10},
        "segmentation": {"train": 3, "val": 3},
    },
    "preprocess": {
        "imagenet": {
            "task": "classification",
            "dataset": "textures",
            "on_corrupt": "fail",
            "size": {
                "resize": 72,
                "keep_aspect": False,
                "crop": 64,
                "interpolation": "linear",
            },
            "mean": MEAN,
            "std": STD,
        },
        "voc": {
            "task": "segmentation",
            "dataset": "shapes",
            "on_corrupt": "fail",
            "size": "own",
            "mean": MEAN,
            "std": STD,
        },
    },
    "probe": {
        "calibration_images": {"classification": 10, "segmentation": 3},
        "ridge": 0.001,
        "residual_scale": 0.25,
        "batch_size": {"classification": 8, "segmentation": 2},
    },
    "export": {
        "exporter": "torchscript",
        "opset": 18,
        "dynamic_axes": {
            "classification": ["batch"],
            "segmentation": ["batch", "height", "width"],
        },
    },
    "inference": {"batch_size": {"classification": 4, "segmentation": 1}},
    "pytorch": {"device": "cpu", "threads": 0},
    "onnxruntime": {"threads": 0},
    "opencv": {
        "engine": "auto",
        "backend": "default",
        "target": "cpu",
        "threads": 0,
        "time_limit": 60,
    },
    "parity": {"images": {"classification": "all", "segmentation": 2}},
    "exact": {"images": {"classification": 2, "segmentation": 1}},
    "stability": {"perturb": [1, 165], "images": 2},
    "benchmark": {
        "batch_size": {"classification": 1, "segmentation": 1},
        "warmup": 1,
        "runs": 3,
        "time_limit": 60,
        "confidence": 95,
        "resamples": 100,
        "max_load": 100,
        "max_spread": 1e9,
        "repeats": 0,
    },
    "quick": {"images": {"classification": 4, "segmentation": 2}},
    "gate": {
        "limits": {
            task: {
                "exactness": 10.0,
                "rel": 1e-4,
                "rel_backstop": 1e-3,
                "agreement": 99.9,
                "accuracy_loss": 0.1,
            }
            for task in ("classification", "segmentation")
        },
        "spread": 0.01,
        "overrides": {},
    },
    "coverage": {
        "max_parameters": 200,
        "classes": 5,
        "images": 2,
        "sizes": {"classification": ["64x64"], "segmentation": ["64x64", "64x96"]},
        "time_limit": 100,
        "memory_limit": 8,
    },
    "plot": {"gallery_images": 4, "dpi": 50},
    "models": {
        "squeezenet1_1": {
            "task": "classification",
            "preprocess": "imagenet",
            "weights": "random",
        },
    },
}

MISSING = object()


def changed(changes: dict[str, object]) -> dict:
    """The small parameters with dotted keys set, or taken out by `MISSING`."""
    content = copy.deepcopy(SMALL)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        section = content
        for key in parents:
            section = section[key]
        if value is MISSING:
            del section[last]
        else:
            section[last] = value
    return content


def own(**changes) -> dict:
    """Changes that take the classification dataset from the folder `mine`, without a train list."""
    mine = SMALL["datasets"]["textures"] | {"source": "mine", "train": "none"}
    return {"datasets.textures": mine | changes}


def write_params(folder: Path, changes: dict[str, object] | None = None) -> Path:
    """Write the small parameters, changed, as JSON, which is YAML too."""
    path = folder / "params.yaml"
    path.write_text(json.dumps(changed(changes or {}), indent=2), encoding="utf-8")
    return path


def model_entry(task: Task = "classification", **fields) -> ModelParams:
    """An entry of `models`, of torchvision's network with random weights unless said otherwise."""
    return ModelParams(**({"task": task, "preprocess": "any", "weights": "random"} | fields))
