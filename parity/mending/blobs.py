"""The images of a model's val split that a mended file must pass on."""

import numpy as np

from parity.core.cli import InputError
from parity.core.params import ModelParams, Params
from parity.core.paths import onnx_path
from parity.faults.inputs import fits, input_lengths, lengths_text
from parity.networks.onnx_file import network_input, parse
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split


def image_blobs(name: str, model: ModelParams, params: Params) -> list[np.ndarray]:
    """Return the first val images, as many as `exact.images` says, at least one and what a fixed
    batch needs: float32 (N, 3, H, W).

    The first comes alone, and where the file takes it, all that have its size follow as a batch;
    images of other sizes come alone. Raises InputError where the file takes none of them.
    """
    split, path = Split(model.preprocess, "val", model.task), onnx_path(name)
    graph = parse(path)
    lengths = input_lengths(graph, network_input(path, graph).name)
    batch = (lengths or [None])[0] or 1
    count = max(batch, params.exact.images.of(model.task))
    normalization = read_normalization(model.preprocess)
    images = [
        normalize(split.images(start, start + 1), **normalization)
        for start in range(min(count, len(split)))
    ]
    alike = [one for one in images if one.shape == images[0].shape]
    blobs = [np.concatenate(alike[:batch])]
    if not (lengths and lengths[0]) and len(alike) > 1:
        blobs.append(np.concatenate(alike))
    blobs += [one for one in images if one.shape != images[0].shape]
    fitting = [np.ascontiguousarray(one) for one in blobs if fits(one.shape, lengths)]
    if not fitting:
        found = f"found images of {blobs[0].shape}"
        raise InputError(f"{path}: {found}; the file expects {lengths_text(lengths)}")
    return fitting
