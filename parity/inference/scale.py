"""What a large evaluation costs, and how long it takes on a cluster: a simulation.

It follows the code: DVC runs one stage after the other, a stage is cut into ranges, each worker
computes one range at a time, and the client takes the results in order and alone writes them.
"""

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from parity.core.cluster import AHEAD, QUEUED
from parity.core.params import Task
from parity.inference.ranges import batches_of_range, longest_range

FLOAT32 = 4  # bytes
MASK_BYTES = 5_000  # a PNG file of 366x500 class ids, estimated


@dataclass(frozen=True)
class Workload:
    """A stage: `images` in batches, and the seconds and bytes of results that one of them takes."""

    name: str
    images: int
    batch_size: int
    seconds: float
    nbytes: float


@dataclass(frozen=True)
class Costs:
    """What a cluster costs beside the computing, in seconds; `merge_bytes_s` is how fast the client
    reads and writes results."""

    stage_s: float  # from the start of a stage to its first task
    load_s: float  # until a worker has the model of a stage
    task_s: float  # of the scheduler, for each task
    merge_bytes_s: float


@dataclass
class Schedule:
    """How a workload runs: its time, tasks and longest task, and how long the scheduler and the
    client's merging are busy. Times are in seconds."""

    seconds: float = 0.0
    tasks: int = 0
    longest_s: float = 0.0
    scheduling_s: float = 0.0
    merging_s: float = 0.0

    def then(self, other: "Schedule") -> "Schedule":
        """Both, one after the other."""
        return Schedule(
            self.seconds + other.seconds,
            self.tasks + other.tasks,
            max(self.longest_s, other.longest_s),
            self.scheduling_s + other.scheduling_s,
            self.merging_s + other.merging_s,
        )


def simulate(stages: Iterable[Workload], workers: int, costs: Costs) -> Schedule:
    """Run the stages one after the other."""
    total = Schedule()
    for stage in stages:
        total = total.then(_simulate_stage(stage, workers, costs))
    return total


def _simulate_stage(stage: Workload, workers: int, costs: Costs) -> Schedule:
    batch_s, batch_bytes = stage.seconds * stage.batch_size, stage.nbytes * stage.batch_size
    free = [(costs.stage_s + costs.load_s, number) for number in range(workers)]
    left = math.ceil(stage.images / stage.batch_size)
    found = Schedule()
    sent = merged = costs.stage_s
    ended: list[float] = []  # when each range is computed
    merges: list[float] = []  # when each range is merged
    while left:
        known = len(ended) >= QUEUED * workers  # the first result is back when more are cut
        longest = longest_range(batch_s, batch_bytes) if known else 1
        batches = batches_of_range(left, workers, longest)
        left -= batches
        # The client sends no more than AHEAD of each worker before a result is merged.
        if (behind := len(merges) - AHEAD * workers) >= 0:
            sent = max(sent, merges[behind])
        sent += costs.task_s
        idle, number = heapq.heappop(free)
        end = max(idle, sent) + batches * batch_s
        heapq.heappush(free, (end, number))
        ended.append(end)
        merge_s = batches * batch_bytes / costs.merge_bytes_s
        merged = max(merged, end) + merge_s
        merges.append(merged)
        found.longest_s = max(found.longest_s, batches * batch_s)
        found.merging_s += merge_s
    found.seconds, found.tasks = merged, len(ended)
    found.scheduling_s = found.tasks * costs.task_s
    return found


def stages_of(
    models: Mapping[str, Mapping],
    images: Mapping[Task, int],
    pixels: float,
    classes: int,
    batch_size: int,
) -> list[Workload]:
    """The inference stages of the models of a record of `make coverage`: PyTorch, ONNX Runtime for
    each exporter, OpenCV in each combination that computed an answer.

    A segmentation's images have `pixels` times the pixels of the record's, one in a batch, and its
    masks are kept; a classification's are computed in batches of `batch_size`.
    """
    found = []
    for name, model in models.items():
        task: Task = model["task"]
        segments = task == "segmentation"
        of_each = (images[task], 1 if segments else batch_size)
        scale = (pixels if segments else 1) / 1000
        nbytes = MASK_BYTES if segments else classes * FLOAT32
        times = {"pytorch": model["ms"]}
        for combination, cell in model["cells"].items():
            exporter = combination.partition(",")[0]
            times[f"onnxruntime, {exporter}"] = cell["onnxruntime_ms"]
            times[f"opencv, {combination}"] = cell["ms"]
        found += [
            Workload(f"{name}, {backend}", *of_each, ms * scale, nbytes)
            for backend, ms in times.items()
            if ms is not None
        ]
    return found
