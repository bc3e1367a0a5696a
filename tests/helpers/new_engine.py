"""OpenCV 5's new engine in a process of its own."""

import cv2

from parity.backends.dirty_heap import dirty_heap
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import EngineSettings

LIMIT_S = 60


def new_engine(perturb: int | None = None) -> EngineProcess:
    """Return the engine, in a heap that `perturb` makes dirty; use it in a `with`."""
    settings = EngineSettings(cv2.dnn.ENGINE_NEW, threads=1, limit_s=LIMIT_S, perturb=())
    return EngineProcess(settings, dirty_heap(perturb) if perturb else None)
