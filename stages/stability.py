"""Find out whether OpenCV's answers for a model depend on luck.

One run proves nothing where OpenCV reads memory that it never wrote: the content differs from
process to process. So the model runs twice in a row, then in new processes whose heap is dirtied on
purpose, and every output is compared bit for bit with the first. Where the heap cannot be dirtied,
plain new processes take their place.
"""

import argparse
from dataclasses import asdict

import numpy as np

from parity.core.cli import log, run
from parity.core.files import write_json
from parity.core.params import ModelParams, Params, count_kept, load_params, of_model
from parity.core.paths import stability_path
from parity.evaluation.messages import stability_text
from parity.evaluation.stability import (
    judge_runs,
    rerun_environments,
    run_in_new_process,
    run_twice_in_one_process,
)
from parity.preprocessing.images import normalize
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.stability", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = of_model(load_params(), name)
    blobs = first_images(params.models[name], params)
    method, environments = rerun_environments(params.stability.perturb)
    first_run, again = run_twice_in_one_process(name, blobs, params.opencv)
    others = [
        run_in_new_process(label, name, blobs, params.opencv, environment)
        for label, environment in environments.items()
    ]
    stability = judge_runs(len(blobs), method, first_run, [again, *others])
    write_json(stability_path(name), asdict(stability))
    log(f"{name}: {stability_text(stability)}")


def first_images(model: ModelParams, params: Params) -> list[np.ndarray]:
    """Return the first val images, one blob each: float32 (1, 3, H, W)."""
    split = Split(model.preprocess, "val", model.task)
    normalization = read_normalization(model.preprocess)
    return [
        normalize(split.images(index, index + 1), **normalization)
        for index in range(count_kept(params.stability.images, len(split)))
    ]


if __name__ == "__main__":
    run(main)
