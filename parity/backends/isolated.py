"""Run backends in a process of their own: a crash or hang there is a result, not the end of the
run."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parity.backends.contract import BackendFailure, Forward
from parity.core.processes import ProcessEnded, Result, Worker


class BackendWorker(Worker):
    """A `Worker` whose end is a BackendFailure, `crashed` or `timeout`."""

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As `Worker.call`, but raises BackendFailure in place of ProcessEnded."""
        try:
            return super().call(function, *arguments)
        except ProcessEnded as end:
            raise BackendFailure(end.kind, str(end)) from None


class IsolatedForward:
    """The forward pass of a backend in a process of its own.

    The process calls `load(*arguments)` once and keeps the forward pass that it returns; all of
    that is pickled. `seconds` is the time of the last forward pass there, without the transfer of
    blob and logits. Raises BackendFailure when the process crashes or a call takes longer than
    `limit_s` seconds, and what `load` and the forward pass raise, as `Worker.call` does.
    """

    def __init__(
        self,
        load: Callable[..., Forward],
        *arguments: Any,
        limit_s: float,
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        self.seconds = float("nan")
        self._worker = Worker(limit_s, environment, quiet)
        try:
            self._call("reading the model", _load, load, arguments)
        except BaseException:  # the caller gets no object to stop
            self.stop()
            raise

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        if not self._worker.is_running:
            raise RuntimeError("its process has ended")
        action = f"a forward pass of a blob of {blob.shape}"
        logits, self.seconds = self._call(action, _forward, blob)
        return logits

    def _call(self, action: str, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return self._worker.call(function, *arguments)
        except ProcessEnded as end:
            raise BackendFailure(end.kind, f"{action}: {end}") from None

    def stop(self) -> None:
        """Kill the process."""
        self._worker.stop()

    def __enter__(self) -> "IsolatedForward":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_loaded: list[Forward] = []  # in the process of an IsolatedForward: the forward pass that it keeps


def _load(load: Callable[..., Forward], arguments: tuple) -> None:
    _loaded[:] = [load(*arguments)]


def _forward(blob: np.ndarray) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    logits = _loaded[0](blob)
    return logits, time.perf_counter() - start
