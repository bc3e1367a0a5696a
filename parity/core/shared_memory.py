"""Arrays in memory that a process shares with a process that it starts."""

import math
import mmap
import os
import weakref
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import DTypeLike


class SharedMemory:
    """Memory of two processes that grows to the largest array in it, and is freed when both end.

    One process creates it. The other one inherits the `descriptor` and opens it by that.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _new_file() if descriptor is None else descriptor
        self._map: mmap.mmap | None = None
        if descriptor is None:
            self._closed = weakref.finalize(self, os.close, self.descriptor)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """Return the memory from its start on as an array; all arrays share the same bytes."""
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        if self._map is None or len(self._map) < size:
            if os.fstat(self.descriptor).st_size < size:
                os.ftruncate(self.descriptor, size)
            self._map = mmap.mmap(self.descriptor, size)
        return np.ndarray(shape, dtype, self._map)

    def store(self, values: np.ndarray) -> None:
        """Copy values to the start of the memory, unless they are an array of it."""
        stored = self.array(values.shape, values.dtype)
        if not (self.holds(values) and values.flags.c_contiguous):
            np.copyto(stored, values)

    def holds(self, values: np.ndarray) -> bool:
        """Whether an array begins where the memory does."""
        return values.ctypes.data == self.array((1,), np.uint8).ctypes.data

    def close(self) -> None:
        """Give the memory back, in the process that created it; arrays that exist keep theirs."""
        self._closed()
        self._map = None


def _new_file() -> int:
    """Return the descriptor of a file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("blobs")
    with TemporaryFile() as file:
        return os.dup(file.fileno())
