"""Run backends in a process of their own: a crash or hang there is a result, not the end of the
run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.backends.contract import BackendFailure, Forward
from parity.core.processes import ProcessEnded, Result, Worker
from parity.core.shared_memory import SharedMemory

BLOBS = 2  # of an IsolatedForward: one is filled while the other one is computed


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
    that is pickled. Blobs and logits go through memory that both processes share. `seconds` is the
    time of the last forward pass there, without the transfer. Raises BackendFailure when the
    process crashes or a call takes longer than `limit_s` seconds, and what `load` and the forward
    pass raise, as `Worker.call` does.
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
        self._blobs = [SharedMemory() for _ in range(BLOBS)]
        self._logits = SharedMemory()
        shared = [memory.descriptor for memory in (*self._blobs, self._logits)]
        self._worker = Worker(limit_s, environment, quiet, shared)
        try:
            self._call("reading the model", _load, load, arguments, shared)
        except BaseException:  # the caller gets no object to stop
            self.stop()
            raise

    def blob(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return a float32 array in the shared memory, to be filled and passed to a call, which
        then copies nothing. There are BLOBS slots; an array is overwritten by the next of its slot.
        """
        return self._blobs[slot].array(shape, np.float32)

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        if not self._worker.is_running:
            raise RuntimeError("its process has ended")
        slot = next((slot for slot, memory in enumerate(self._blobs) if memory.holds(blob)), 0)
        self._blobs[slot].store(blob)
        action = f"a forward pass of a blob of {blob.shape}"
        shape, dtype, self.seconds = self._call(action, _forward, slot, blob.shape, blob.dtype)
        return self._logits.array(shape, dtype).copy()

    def _call(self, action: str, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return self._worker.call(function, *arguments)
        except ProcessEnded as end:
            raise BackendFailure(end.kind, f"{action}: {end}") from None

    def stop(self) -> None:
        """Kill the process."""
        self._worker.stop()
        for memory in (*self._blobs, self._logits):
            memory.close()

    def __enter__(self) -> "IsolatedForward":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def timed(forward: Forward, blob: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the logits of a forward pass and its seconds; in another process without the transfer
    of blob and logits."""
    began = time.perf_counter()
    logits = forward(blob)
    seconds = time.perf_counter() - began
    return logits, forward.seconds if isinstance(forward, IsolatedForward) else seconds


@dataclass(frozen=True)
class _Loaded:
    forward: Forward
    blobs: Sequence[SharedMemory]
    logits: SharedMemory


_loaded: list[_Loaded] = []  # in the process of an IsolatedForward: what it keeps


def _load(load: Callable[..., Forward], arguments: tuple, shared: Sequence[int]) -> None:
    *blobs, logits = (SharedMemory(descriptor) for descriptor in shared)
    _loaded[:] = [_Loaded(load(*arguments), blobs, logits)]


def _forward(
    slot: int, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[tuple[int, ...], np.dtype, float]:
    kept = _loaded[0]
    logits, seconds = timed(kept.forward, kept.blobs[slot].array(shape, dtype))
    kept.logits.store(logits)
    return logits.shape, logits.dtype, seconds
