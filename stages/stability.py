"""Tell whether OpenCV's answers for a model depend on luck.

One run proves nothing where memory is read that was never written: what lies there differs from
process to process. So the model runs twice in a row, then in new processes whose heap is dirtied on
purpose, and every output is compared bit for bit with the first. Where the heap cannot be dirtied,
plain processes stand in.
"""

import argparse

import numpy as np

from parity.core.cli import log, run
from parity.core.files import write_json
from parity.core.params import ModelParams, Params, entry, first, load_params
from parity.core.paths import stability_path
from parity.evaluation.messages import stability_text
from parity.evaluation.stability import answers, report, twice, ways
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.stability", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    blobs = first_blobs(entry(params, "models", name), params)
    method, environments = ways(params.stability.perturb)
    plain, again = twice(name, blobs, params.opencv)
    others = [
        answers(way, name, blobs, params.opencv, environment)
        for way, environment in environments.items()
    ]
    result = report(method, plain, [again, *others])
    write_json(stability_path(name), {"images": len(blobs), **result})
    log(f"{name}: {stability_text(result)}")


def first_blobs(model: ModelParams, params: Params) -> list[np.ndarray]:
    """The first images of the val split, float32 (1, 3, H, W) each."""
    split = Split(model.preprocess, "val", model.task)
    normalization = read_normalization(model.preprocess)
    count = first(params.stability.images, len(split))
    return [
        normalize(split.images(start, stop), **normalization)
        for start, stop in split.batches(1)
        if stop <= count
    ]


if __name__ == "__main__":
    run(main)
