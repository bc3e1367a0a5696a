"""Time the stages `preprocess`, `infer_pytorch` and `infer_opencv` against the plain loop that they
replace, in turn on the same images: `make benchmark-pipeline`.

Prints the ratio of the two times with its confidence interval. It needs what `make` wrote for the
model, and changes none of it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats
from tqdm import tqdm

from parity.core.cli import InputError, log, run
from parity.core.files import scratch_directory
from parity.core.params import PARAMS, entry, load_params
from parity.core.paths import dataset_path, mended_path, transform_folder, weights_path
from parity.datasets.dataset import Dataset

ROOT = Path(__file__).parents[1]
CONFIDENCE = 0.95


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.benchmark_pipeline", description=__doc__)
    parser.add_argument("--model", required=True, help="an entry of `models` in params.yaml")
    parser.add_argument("--images", type=int, default=400, help="at most; default: 400")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    args = parser.parse_args(argv)
    for option, least in (("images", 1), ("rounds", 2)):
        if getattr(args, option) < least:
            found = f"found {getattr(args, option)}; expected at least {least}"
            raise InputError(f"{option.upper()}: {found}")

    params = load_params()
    model = entry(params, "models", args.model)
    if model.onnx:
        raise InputError(f"{PARAMS}: models.{args.model}: an ONNX file; expected a PyTorch network")
    profile = entry(params, "preprocess", model.preprocess)
    python = [sys.executable, "-m"]
    pipeline = [
        [*python, "stages.preprocess", model.preprocess],
        [*python, "stages.infer_pytorch", args.model],
        [*python, "stages.infer_opencv", args.model],
    ]
    loop = [[*python, "tools.benchmark_loop", args.model]]
    with scratch_directory(Path("data") / "benchmark_pipeline") as folder:
        images = copy_project(folder, args.model, model.preprocess, profile.dataset, args.images)
        # Untimed: they read files from the disk, later ones from memory. The loop takes the number
        # of classes from what `preprocess` wrote.
        for commands in (pipeline, loop):
            seconds_of(commands, folder)
        times = time_in_turn([loop, pipeline], folder, args.rounds)
    ratio, low, high = ratio_with_interval(times[:, 1] / times[:, 0])
    loop_ms, pipeline_ms = 1e3 * np.median(times, axis=0) / images
    log(
        f"{args.model}, {images} images, {args.rounds} rounds: loop {loop_ms:.1f} ms, stages "
        f"{pipeline_ms:.1f} ms an image; ratio {ratio:.2f} ({low:.2f}-{high:.2f})"
    )
    result = {"model": args.model, "images": images, "rounds": args.rounds}
    result |= {"loop_ms": loop_ms, "stages_ms": pipeline_ms, "ratio": ratio}
    print(json.dumps(result | {"low": low, "high": high, "confidence": 100 * CONFIDENCE}))


def copy_project(folder: Path, model: str, profile: str, dataset: str, limit: int) -> int:
    """Make a project in `folder` in which the stages run on the first `limit` val images of a
    dataset, with links to what `make` wrote; return the number of images."""
    if not mended_path(model).exists():
        raise InputError(f"{mended_path(model)}: no such file; `make` writes it")
    content = Dataset.load(dataset_path(dataset))
    items = {"train": [], "val": content.val[:limit], "root": str(Path(content.root).resolve())}
    (folder / dataset_path(dataset)).parent.mkdir(parents=True)
    Dataset(**vars(content) | items).save(folder / dataset_path(dataset))
    shutil.copy(PARAMS, folder)
    for source in (transform_folder(profile), weights_path(model).parent):
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).symlink_to(source.resolve(), target_is_directory=True)
    return len(items["val"])


def time_in_turn(
    candidates: Sequence[Sequence[list[str]]], folder: Path, rounds: int
) -> np.ndarray:
    """Run the commands of each candidate once a round; return seconds, float64 (rounds,
    candidates).

    Every other round runs them in reverse, so that a machine that slows down favours none.
    """
    times = np.zeros((rounds, len(candidates)))
    for number in tqdm(range(rounds), unit="round", disable=None):
        order = range(len(candidates))
        for place in order if number % 2 == 0 else reversed(order):
            times[number, place] = seconds_of(candidates[place], folder)
    return times


def seconds_of(commands: Sequence[list[str]], folder: Path) -> float:
    """Return how long commands take, one after the other; raise InputError if one fails."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    began = time.perf_counter()
    for command in commands:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise InputError(f"{' '.join(command[2:])}: {lines[-1].removeprefix('error: ')}")
    return time.perf_counter() - began


def ratio_with_interval(ratios: np.ndarray) -> tuple[float, float, float]:
    """Return the geometric mean of the rounds' ratios and its confidence interval: Student's t
    interval of their logarithms, whose mean does not depend on which of the two is the base."""
    logs = np.log(ratios)
    mean, error = logs.mean(), stats.sem(logs)
    low, high = stats.t.interval(CONFIDENCE, len(logs) - 1, mean, error) if error else (mean, mean)
    return float(np.exp(mean)), float(np.exp(low)), float(np.exp(high))


if __name__ == "__main__":
    run(main)
