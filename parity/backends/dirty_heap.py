"""Memory that a process gets and has not written yet, dirtied on purpose."""

import ctypes
import os

PERTURB = "MALLOC_PERTURB_"  # of the environment; see glibc's mallopt(3), M_PERTURB
TUNABLES = "GLIBC_TUNABLES"  # settings with colons between them, of which the last of a name holds
# Freed memory that a thread keeps for itself glibc does not dirty: small tensors would lie there.
NO_CACHE = "glibc.malloc.tcache_count=0"
VALUES = (1, 165)  # each brought every fault to light that was met so far
# Those fill memory that was just taken with huge numbers and what was freed with tiny ones, which a
# read beside a tensor does not show. This one fills what was freed with NaN.
FREED = 255
SIZES = (64, 1 << 16)  # bytes, of which a thread would keep the small one for itself


def dirty_heap(value: int) -> dict[str, str]:
    """The environment in which a process's heap is dirty, beside this process's own settings."""
    own = os.environ.get(TUNABLES)
    return {PERTURB: str(value), TUNABLES: f"{own}:{NO_CACHE}" if own else NO_CACHE}


def is_dirty(value: int) -> bool:
    """Whether new memory of this process is what MALLOC_PERTURB_ of `value` makes it: each byte the
    complement. Not so with another allocator than glibc's."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    expected = bytes([value ^ 0xFF])
    return all(_fresh(libc, size) == expected * size for size in SIZES)


def _fresh(libc: ctypes.CDLL, size: int) -> bytes:
    """The content of new memory where other memory of that size was just freed."""
    libc.free(libc.malloc(size))
    address = libc.malloc(size)
    content = ctypes.string_at(address, size)
    libc.free(address)
    return content
