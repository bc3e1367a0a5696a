"""OpenCV 5's new engine on a small graph, in a process of its own."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from onnx import ModelProto

from parity.backends.dirty_heap import dirty_heap
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import EngineSettings

LIMIT_S = 60


def run_new_engine(
    model: ModelProto,
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    perturb: int | None = None,
) -> list[np.ndarray]:
    """Compute the outputs, in a heap that `perturb` has made dirty; raises BackendFailure."""
    settings = EngineSettings(cv2.dnn.ENGINE_NEW, threads=1, limit_s=LIMIT_S, perturb=())
    with EngineProcess(settings, dirty_heap(perturb) if perturb else None) as process:
        return process.run(model, feeds, outputs)
