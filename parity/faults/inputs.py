"""Find the blob on which a fault is searched for: a file's, a drawn one, or a real image of a
model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.core.cli import InputError, log
from parity.core.params import ModelParams
from parity.core.paths import prediction_folder
from parity.graphs.graph import constants, input_names, output_names
from parity.inference.predictions import predicting_backends, read_logits, read_pixel_logits
from parity.networks.onnx_file import check_outputs, network_input
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split

Lengths = list[int | None]  # of an input's axes; None where any length is accepted

CHUNK = 1000  # rows of logits that are compared at a time
SIDE = 224  # pixels, of a drawn blob where the file leaves its size open: most networks take it


def read_blob(path: Path) -> np.ndarray:
    """Read an .npy file of numbers as float32, and log it if they had another type.

    Raises InputError where it is no such file, is empty, or holds NaN or infinity, which would hide
    any difference.
    """
    try:
        blob = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{path}: not an .npy file: {reason}") from None
    if not isinstance(blob, np.ndarray):
        blob.close()
        raise InputError(f"{path}: found an .npz file; expected .npy with a single blob")
    if not np.issubdtype(blob.dtype, np.floating) and not np.issubdtype(blob.dtype, np.integer):
        raise InputError(f"{path}: found {blob.dtype}; expected float32")
    if not blob.size:
        raise InputError(f"{path}: found shape {blob.shape}, which is empty; expected numbers")
    if blob.dtype != np.float32:
        log(f"{path}: found {blob.dtype}; converted to float32")
        with np.errstate(over="ignore"):
            blob = blob.astype(np.float32)
    if odd := int((~np.isfinite(blob)).sum()):
        found = f"found NaN or infinity in {odd} of {blob.size} values"
        raise InputError(f"{path}: {found}; expected finite float32")
    return blob


def feeds_of(path: Path, model: ModelProto, blob: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """Map the name of the model's only input to the blob.

    Raises InputError, naming the file or the blob's `source`, where the model has several inputs,
    no output depends on the input, an output holds no real numbers, the input is not float32, or
    the blob does not fit it.
    """
    name = network_input(path, model).name
    check_outputs(path, model)
    if constants(model).issuperset(output_names(model)):
        raise InputError(f"{path}: no output depends on the input")
    lengths = input_lengths(model, name)
    if not fits(blob.shape, lengths):
        raise InputError(
            f"{source}: found shape {blob.shape}; {path} expects {lengths_text(lengths)}"
        )
    return {name: blob}


def input_lengths(model: ModelProto, name: str) -> Lengths | None:
    """Return the lengths of an input's axes; None where the model leaves their number open."""
    tensor_type = _tensor_type(model, name)
    if not tensor_type.HasField("shape"):
        return None
    axes = tensor_type.shape.dim
    # Some exporters write 0 or -1 for an open axis.
    return [axis.dim_value if axis.dim_value > 0 else None for axis in axes]


def _tensor_type(model: ModelProto, name: str):
    return next(value for value in model.graph.input if value.name == name).type.tensor_type


def fits(shape: Sequence[int], lengths: Lengths | None) -> bool:
    """Whether an input of these lengths accepts a blob of this shape."""
    return lengths is None or (
        len(lengths) == len(shape)
        and all(wanted in (None, found) for wanted, found in zip(lengths, shape, strict=True))
    )


def lengths_text(lengths: Lengths) -> str:
    return f"({', '.join('any' if length is None else str(length) for length in lengths)})"


def drawn_blob(path: Path, model: ModelProto) -> np.ndarray:
    """Return random numbers that fit a file's only input, float32, the same in every run.

    An open axis is one image, three channels or SIDE pixels where the input is (N, 3, H, W), which
    an input of unknown axes counts as. Elsewhere only the first axis may be open. Raises InputError
    for any other input.
    """
    lengths = input_lengths(model, input_names(model)[0])
    if lengths is None:
        lengths = [None] * 4
    defaults = (1, 3, SIDE, SIDE) if len(lengths) == 4 else (1, *[None] * len(lengths))
    shape = [length or default for length, default in zip(lengths, defaults, strict=False)]
    if None in shape:
        found = f"found an input {lengths_text(lengths)}"
        raise InputError(f"{path}: {found}; expected --input with a blob of the size that it needs")
    return np.asarray(np.random.default_rng(0).standard_normal(shape), np.float32)


def real_blob(name: str, model: ModelParams, number: int | None) -> tuple[np.ndarray, str]:
    """Return the blob of an image of the val split, float32 (1, 3, H, W), and its description.

    That is image `number`, by default the one for which OpenCV's stored prediction differs most
    from ONNX Runtime's, or else the first. Raises InputError when there is no such image.
    """
    split = Split(model.preprocess, "val", model.task)
    if number is not None and not 0 <= number < len(split):
        raise InputError(f"--image: found {number}; {name} has images 0 to {len(split) - 1}")
    worst = most_different_image(name, model, split) if number is None else None
    index = number if number is not None else worst or 0
    blob = normalize(split.images(index, index + 1), **read_normalization(model.preprocess))
    why = ", where the stored predictions differ most" if worst is not None else ""
    return np.ascontiguousarray(blob), f"image {index} ({split.names[index]}){why}"


def most_different_image(name: str, model: ModelParams, split: Split) -> int | None:
    """Return the image whose stored logits differ most between OpenCV and ONNX Runtime, if any."""
    if not all(prediction_folder(name, one).exists() for one in ("opencv", "onnxruntime")):
        return None
    backends = predicting_backends(name)
    if "opencv" not in backends or "onnxruntime" not in backends:
        return None
    if model.task == "classification":
        differences = [
            _largest_differences(
                *(read_logits(name, one, at, at + CHUNK) for one in ("opencv", "onnxruntime"))
            )
            for at in range(0, len(split), CHUNK)
        ]
        images = np.concatenate(differences)
    else:
        folder = prediction_folder(name, "opencv") / "logits"
        kept = [one for one in split.names if (folder / f"{one}.npy").exists()]
        images = np.array([_pixel_difference(name, one) for one in kept])
    return int(images.argmax()) if images.size else None


def _pixel_difference(name: str, image: str) -> float:
    pair = (read_pixel_logits(name, one, image)[None] for one in ("opencv", "onnxruntime"))
    return float(_largest_differences(*pair)[0])


def _largest_differences(candidate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the largest absolute difference of each image, infinity for NaN: float32 (N,)."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(candidate - reference).reshape(len(reference), -1).max(axis=1)
    return np.where(np.isnan(difference), np.inf, difference)
