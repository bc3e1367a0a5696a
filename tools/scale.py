"""What does a large evaluation cost, and what limits it on a cluster?

Simulates inference on 50,000 images with all models of metrics/coverage.json, from the seconds that
they took there, on 1 to 1,000 workers of one core. `--measure MODEL` instead measures the images
per second of a model of params.yaml on one and on two workers of this machine; it needs the files
that `make` writes, and a machine that does nothing else.
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime
from parity.backends.opencv import load_opencv
from parity.core.cli import run
from parity.core.cluster import open_cluster
from parity.core.markdown import markdown_table
from parity.core.params import Params, Task, load_params, of_model
from parity.core.paths import mended_path, onnx_path
from parity.coverage.cells import RECORD
from parity.coverage.record import read_record
from parity.inference.ranges import Recipe, compute_on
from parity.inference.scale import FLOAT32, Costs, Schedule, Workload, simulate, stages_of
from parity.preprocessing.profile import read_normalization
from parity.preprocessing.splits import Split, read_classes

IMAGES: dict[Task, int] = {"classification": 50_000, "segmentation": 1_449}  # ImageNet, VOC 2012
CLASSES = 1000
CROP_BYTES = 224 * 224 * 3
VOC_PIXELS = 366 * 500
RECORD_PIXELS = 256 * 256  # of the first blob of a segmentation in the record
KEPT_LOGITS_BYTES = 8 * VOC_PIXELS * 21 * FLOAT32  # parity.images.segmentation of each stage
WORKERS = (1, 2, 10, 100, 1000)
CLUSTERS = ("local:1", "local:2")  # that `--measure` compares
ROUNDS = 3
# Estimated, but for the scheduler's, which is what Dask's documentation says.
COSTS = Costs(stage_s=10, load_s=5, task_s=0.001, merge_bytes_s=200e6)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.scale", description=__doc__)
    parser.add_argument("--measure", metavar="MODEL", help="an entry of `models` in params.yaml")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        measure(of_model(load_params(), arguments.measure), arguments.measure)
    else:
        report()


def report() -> None:
    models = read_record(RECORD)["models"]
    batch_size = load_params().inference.batch_size.classification
    stages = stages_of(models, IMAGES, VOC_PIXELS / RECORD_PIXELS, CLASSES, batch_size)
    print(f"{len(models)} models, {len(stages)} stages, {IMAGES['classification']:,} images\n")
    print(markdown_table([["what", "amount"], *amounts(models, stages)], left=1))
    rows = [["workers", "hours", "of linear %", "tasks", "longest task s"]]
    rows[0] += ["scheduler busy %", "merging %", "starting %"]
    alone = simulate(stages, 1, COSTS)
    for workers in WORKERS:
        rows.append(row_of(simulate(stages, workers, COSTS), workers, alone, len(stages)))
    print(markdown_table(rows, left=0))


def amounts(models: dict, stages: Sequence[Workload]) -> list[list[str]]:
    def core_hours(backend: str) -> float:
        mine = [one for one in stages if f", {backend}" in one.name]
        return sum(one.images * one.seconds for one in mine) / 3600

    parameters = sum(model["parameters"] for model in models.values()) * 1e6
    exporters = len({name.partition(",")[0] for one in models.values() for name in one["cells"]})
    segmentations = sum(one.batch_size == 1 for one in stages)
    images = IMAGES["classification"] * CROP_BYTES + IMAGES["segmentation"] * VOC_PIXELS * 4
    read = sum(
        one.images * (VOC_PIXELS * 3 if one.batch_size == 1 else CROP_BYTES) for one in stages
    )
    results = sum(one.images * one.nbytes for one in stages) + segmentations * KEPT_LOGITS_BYTES
    files = parameters * FLOAT32 * (1 + exporters)
    return [
        *(
            [f"core-hours, {label}", f"{core_hours(backend):,.0f}"]
            for backend, label in (
                ("pytorch", "PyTorch"),
                ("onnxruntime", "ONNX Runtime, each exporter"),
                ("opencv", "OpenCV, each combination"),
            )
        ),
        ["disk: preprocessed images", f"{images / 1e9:,.1f} GB"],
        ["disk: weights and ONNX files", f"{files / 1e9:,.1f} GB"],
        ["disk: predictions", f"{results / 1e9:,.0f} GB"],
        ["read by workers: images", f"{read / 1e12:,.1f} TB"],
        ["sent to the client: results", f"{results / 1e9:,.0f} GB"],
    ]


def row_of(found: Schedule, workers: int, alone: Schedule, stages: int) -> list[str]:
    starting = stages * (COSTS.stage_s + COSTS.load_s)
    shares = (found.scheduling_s, found.merging_s, starting)
    return [
        f"{workers:,}",
        f"{found.seconds / 3600:,.1f}",
        f"{100 * alone.seconds / found.seconds / workers:.0f}",
        f"{found.tasks:,}",
        f"{found.longest_s:.0f}",
        *(f"{100 * share / found.seconds:.1f}" for share in shares),
    ]


def measure(params: Params, name: str) -> None:
    """Print the images per second of ONNX Runtime and OpenCV, one thread each, on one and on two
    local workers, three times; the first time they load the model."""
    model = params.models[name]
    split = Split(model.preprocess, "val", model.task)
    one_thread = {"threads": 1}
    opencv = params.opencv.model_copy(update=one_thread)
    backends = {
        "onnxruntime": partial(
            load_onnxruntime, onnx_path(name), params.onnxruntime.model_copy(update=one_thread)
        ),
        "opencv": partial(
            IsolatedForward, load_opencv, mended_path(name), opencv, limit_s=opencv.time_limit
        ),
    }
    how = {
        "classes": len(read_classes(model.preprocess)),
        "batch_size": params.inference.batch_size.of(model.task),
        "keep_logits": 0,
        **read_normalization(model.preprocess),
    }
    for backend, load in backends.items():
        recipe = Recipe(Path(name), load, **how)
        for cluster in CLUSTERS:
            with open_cluster(cluster) as workers:
                rates = []
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    for _ in compute_on(workers, recipe, split, 0):
                        pass
                    rates.append(len(split) / (time.perf_counter() - began))
            shown = ", ".join(f"{rate:.1f}" for rate in rates)
            print(f"{name}, {backend}, {cluster}: {shown} images/s", flush=True)


if __name__ == "__main__":
    run(main)
