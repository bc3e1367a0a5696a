"""One of OpenCV's engines in a process of its own, so that a crash there is a result."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker
from parity.backends.opencv import run_opencv, run_opencv_in_turn
from parity.core.processes import Result
from parity.faults.settings import EngineSettings
from parity.graphs.graph import save


class EngineProcess:
    """A process that runs graphs in one engine until it is stopped; use it in a `with`.

    `environment` is added to this process's own.
    """

    def __init__(
        self, settings: EngineSettings, environment: Mapping[str, str] | None = None
    ) -> None:
        self.settings = settings
        self._worker = BackendWorker(settings.limit_s, environment, quiet=True)
        self._folder = tempfile.TemporaryDirectory(prefix="graphs-")

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and remove its files."""
        self._worker.stop()
        self._folder.cleanup()

    def run(
        self, model: ModelProto | Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """Compute the outputs of a model or an ONNX file; raises BackendFailure."""
        return self._call(run_opencv, model, feeds, outputs)

    def run_in_turn(
        self,
        model: ModelProto | Path,
        feeds: Sequence[Mapping[str, np.ndarray]],
        outputs: Sequence[str],
    ) -> tuple[list[list[np.ndarray]], BackendFailure | None]:
        """Compute the outputs for several feeds on one network: see `run_opencv_in_turn`."""
        return self._call(run_opencv_in_turn, model, feeds, outputs)

    def _call(
        self, function: Callable[..., Result], model: ModelProto | Path, *arguments
    ) -> Result:
        path = model
        if isinstance(model, ModelProto):
            path = Path(self._folder.name) / "graph.onnx"
            save(model, path)
        engine, threads = self.settings.engine, self.settings.threads
        return self._worker.call(function, path, engine, threads, *arguments)
