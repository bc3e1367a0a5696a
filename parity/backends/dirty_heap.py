"""Make a process's heap dirty on purpose: what reads memory before writing it then shows."""

import ctypes
import os

PERTURB = "MALLOC_PERTURB_"  # environment variable of glibc: mallopt(3), M_PERTURB
TUNABLES = "GLIBC_TUNABLES"  # colon-separated settings; the last one wins
# glibc does not dirty freed memory that a thread caches for itself: small tensors would lie there.
NO_CACHE = "glibc.malloc.tcache_count=0"
# Fills freed memory with NaN and new memory with 0. NaN reveals even a read of weight 0, such as
# one just outside a tensor.
NAN_PERTURB = 255
# Used where `stability.perturb` from params.yaml is not available. 165 fills new memory with 1.5e16
# as float32, and freed memory with -2.9e-16, which hides in any sum.
DEFAULT_PERTURB = (165, NAN_PERTURB)
PROBED_SIZES = (64, 1 << 16)  # bytes; a thread would cache the smaller one


def dirty_heap(value: int) -> dict[str, str]:
    """Return what to add to the environment of a process so that its heap is dirty.

    glibc fills freed memory with the byte `value`, 1 to 255, and new memory with its complement.
    This process's own tunables stay.
    """
    own = os.environ.get(TUNABLES)
    return {PERTURB: str(value), TUNABLES: f"{own}:{NO_CACHE}" if own else NO_CACHE}


def padding(attempt: int) -> dict[str, str]:
    """Return what to add to the environment of a process so that other memory than in the attempts
    before lies around its tensors."""
    return {"PADDING": 97 * attempt * "x"}


def is_dirty(value: int) -> bool:
    """Return whether new memory of this process is filled as with `dirty_heap(value)`. It is not
    with another allocator than glibc's."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    expected = bytes([value ^ 0xFF])
    return all(_new_memory(libc, size) == expected * size for size in PROBED_SIZES)


def _new_memory(libc: ctypes.CDLL, size: int) -> bytes:
    """Return the content of new memory, just after memory of that size was freed."""
    libc.free(libc.malloc(size))
    address = libc.malloc(size)
    content = ctypes.string_at(address, size)
    libc.free(address)
    return content
