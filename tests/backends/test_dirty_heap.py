"""A heap that was dirtied on purpose, in a process of its own."""

import pytest

from parity.backends.dirty_heap import PERTURB, dirty_heap, is_dirty
from parity.backends.isolated import BackendWorker


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
