"""The blob that a fault is looked for on: a file's, or a real image of a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from parity.core.cli import InputError, log
from parity.core.params import ModelParams
from parity.core.paths import prediction_folder
from parity.graphs.graph import input_names, value_infos
from parity.inference.predictions import predicting_backends, read_logits, read_pixel_logits
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

Lengths = list[int | None]  # of an input's axes; None where the length is free

CHUNK = 1000  # rows of logits that are compared at once


def read_blob(path: Path) -> np.ndarray:
    """Read an .npy file of numbers as float32, and log where they were of another type. Raises
    InputError where it is none, is empty or holds NaN or infinity, of which nothing can be told."""
    try:
        blob = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{path}: not an .npy file: {reason}") from None
    if not isinstance(blob, np.ndarray):
        blob.close()
        raise InputError(f"{path}: found an .npz file; expected .npy, one blob")
    if not np.issubdtype(blob.dtype, np.floating) and not np.issubdtype(blob.dtype, np.integer):
        raise InputError(f"{path}: found {blob.dtype}; expected float32")
    if not blob.size:
        raise InputError(f"{path}: found shape {blob.shape}, which is empty; expected numbers")
    if blob.dtype != np.float32:
        log(f"{path}: found {blob.dtype}; made float32 of it")
        with np.errstate(over="ignore"):
            blob = blob.astype(np.float32)
    if odd := int((~np.isfinite(blob)).sum()):
        found = f"found NaN or infinity in {odd} of {blob.size} values"
        raise InputError(f"{path}: {found}; expected finite float32")
    return blob


def feeds_of(path: Path, model: ModelProto, blob: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """The blob by the name of the model's one input; raises InputError where that is not float32
    or the blob does not fit."""
    names = input_names(model)
    if len(names) != 1:
        found = f"found {len(names)} inputs: {', '.join(names)}" if names else "found no input"
        raise InputError(f"{path}: {found}; expected one")
    if not model.graph.output:
        raise InputError(f"{path}: found no output; expected one")
    info = value_infos(model).get(names[0])
    kind = info.type.tensor_type.elem_type if info is not None else TensorProto.UNDEFINED
    if kind != TensorProto.FLOAT:
        found = TensorProto.DataType.Name(kind).lower()
        raise InputError(f"{path}: found input {names[0]} of type {found}; expected float (32 bit)")
    wanted = input_lengths(model, names[0])
    if not fits(blob.shape, wanted):
        raise InputError(f"{source}: found shape {blob.shape}; {path} expects {any_text(wanted)}")
    return {names[0]: blob}


def input_lengths(model: ModelProto, name: str) -> Lengths | None:
    """The lengths of an input's axes; None where the model does not say how many there are."""
    info = value_infos(model).get(name)
    if info is None or not info.type.tensor_type.HasField("shape"):
        return None
    axes = info.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in axes]


def fits(shape: Sequence[int], wanted: Lengths | None) -> bool:
    """Whether an input of these lengths takes a blob of a shape."""
    return wanted is None or (
        len(wanted) == len(shape)
        and all(one in (None, length) for one, length in zip(wanted, shape, strict=True))
    )


def any_text(lengths: Lengths) -> str:
    return f"({', '.join('any' if one is None else str(one) for one in lengths)})"


def real_blob(name: str, model: ModelParams, number: int | None) -> tuple[np.ndarray, str]:
    """The blob of an image of the val split, float32 (1, 3, H, W), and what it is in words.

    The one of that number, or the one that OpenCV's stored prediction is farthest off at, or the
    first.
    """
    split = Split(model.preprocess, "val", model.task)
    if number is not None and not 0 <= number < len(split):
        raise InputError(f"--image: found {number}; {name} has images 0 to {len(split) - 1}")
    worst = most_different(name, model, split) if number is None else None
    index = number if number is not None else worst or 0
    blob = normalize(split.images(index, index + 1), **read_normalization(model.preprocess))
    why = ", where the stored predictions differ most" if worst is not None else ""
    return np.ascontiguousarray(blob), f"image {index} ({split.names[index]}){why}"


def most_different(name: str, model: ModelParams, split: Split) -> int | None:
    """The image at which OpenCV's stored logits are farthest from the reference's, if any are."""
    if not all(prediction_folder(name, one).exists() for one in ("opencv", "onnxruntime")):
        return None
    there = predicting_backends(name)
    if "opencv" not in there or "onnxruntime" not in there:
        return None
    if model.task == "classification":
        distances = [
            _distances(
                *(read_logits(name, one, at, at + CHUNK) for one in ("opencv", "onnxruntime"))
            )
            for at in range(0, len(split), CHUNK)
        ]
        images = np.concatenate(distances)
    else:
        folder = prediction_folder(name, "opencv") / "logits"
        kept = [one for one in split.names if (folder / f"{one}.npy").exists()]
        images = np.array([_pixel_distance(name, one) for one in kept])
    return int(images.argmax()) if images.size else None


def _pixel_distance(name: str, image: str) -> float:
    pair = (read_pixel_logits(name, one, image)[None] for one in ("opencv", "onnxruntime"))
    return float(_distances(*pair)[0])


def _distances(candidate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The largest difference of each image; NaN counts as the farthest."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(candidate - reference).reshape(len(reference), -1).max(axis=1)
    return np.where(np.isnan(difference), np.inf, difference)
