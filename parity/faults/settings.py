"""How OpenCV runs while a fault is searched for: a bare ONNX file has defaults, a model params."""

from collections.abc import Sequence
from dataclasses import dataclass

from parity.backends.dirty_heap import VALUES
from parity.backends.opencv import check_opencv, default_engine
from parity.core.machine import cores
from parity.core.params import OpenCVParams
from parity.evaluation.verdict import Limits

# For a bare ONNX file; a model has the gate's limits.
FILE_LIMITS = Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1)
FILE_OPENCV = OpenCVParams(
    engine=default_engine(), backend="default", target="cpu", threads=0, time_limit=120
)
FILE_PERTURB = VALUES


@dataclass(frozen=True)
class EngineSettings:
    """One of OpenCV's engines (OpenCV's constant for it, None in OpenCV 4), its threads, seconds
    for one call, and the values of MALLOC_PERTURB_ that dirty its heap."""

    engine: int | None
    threads: int
    limit_s: float
    perturb: tuple[int, ...]


def on_cpu(opencv: OpenCVParams, engine: str | None = None) -> OpenCVParams:
    """Return the parameters with the CPU as target, which every reader of a report has, and with
    another engine if one is named."""
    changes = {"backend": "default", "target": "cpu"} | ({"engine": engine} if engine else {})
    return opencv.model_copy(update=changes)


def engine_settings(opencv: OpenCVParams, perturb: Sequence[int]) -> EngineSettings:
    """Return the settings of the engine that `opencv` names; raises InputError without it."""
    engine = check_opencv(opencv)[0]
    return EngineSettings(engine, opencv.threads or cores(), opencv.time_limit, tuple(perturb))
