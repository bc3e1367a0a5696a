"""This process's heap."""

import ctypes
import sys

# glibc, mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Have glibc keep what this process frees, for the next allocation; elsewhere do nothing.

    By default glibc gives the memory of a large tensor back to the system when it is freed, so
    Linux clears each page again, in each layer of each forward pass. PyTorch has no memory pool on
    the CPU and spends up to 40 % of its time there. Results do not depend on it. The process gets
    no smaller before it ends.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a system without glibc
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
