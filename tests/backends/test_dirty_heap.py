"""A heap that was dirtied on purpose, in a process of its own."""

import ctypes

import numpy as np
import pytest
from helpers.checkout import ROOT

from parity.backends.dirty_heap import DEFAULT_PERTURB, PERTURB, dirty_heap, is_dirty
from parity.backends.isolated import BackendWorker
from parity.core.params import load_params

SIZE = 1 << 16  # bytes


def new_and_freed_memory() -> tuple[np.ndarray, np.ndarray]:
    """The float32 that new memory of this process holds, and memory just freed."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    new, freed = np.zeros((2, SIZE // 4), np.float32)
    address, _above = libc.malloc(SIZE), libc.malloc(SIZE)
    ctypes.memmove(new.ctypes.data, address, SIZE)
    libc.free(address)
    ctypes.memmove(freed.ctypes.data, address, SIZE)
    middle = slice(SIZE // 8, SIZE // 8 + 100)  # the allocator keeps its own notes at the edges
    return new[middle], freed[middle]


@pytest.mark.parametrize(
    "values", [DEFAULT_PERTURB, load_params(ROOT / "params.yaml").stability.perturb]
)
def test_one_of_the_default_values_reveals_a_read_of_new_memory_and_one_of_freed(values):
    shown = []
    for value in values:
        with BackendWorker(20, dirty_heap(value)) as worker:
            kinds = worker.call(new_and_freed_memory)
        shown.append([bool(np.all(np.isnan(kind) | (np.abs(kind) > 1e12))) for kind in kinds])
    assert np.all(np.any(shown, axis=0))


@pytest.mark.parametrize("value", [1, 165])
def test_the_heap_of_another_process_is_dirtied(value):
    with BackendWorker(20, dirty_heap(value)) as worker:
        assert worker.call(is_dirty, value)
    with BackendWorker(20) as worker:
        assert not worker.call(is_dirty, value)


def test_small_memory_is_dirtied_whatever_tunables_the_user_has(monkeypatch):
    with BackendWorker(20, {PERTURB: "1"}) as worker:
        assert not worker.call(is_dirty, 1), "glibc dirties the cache of a thread by now"
    own = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=7"
    monkeypatch.setenv("GLIBC_TUNABLES", own)
    assert dirty_heap(1)["GLIBC_TUNABLES"].startswith(f"{own}:")
    with BackendWorker(20, dirty_heap(1)) as worker:
        assert worker.call(is_dirty, 1)
