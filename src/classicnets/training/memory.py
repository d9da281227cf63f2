"""Memory that one step frees, kept for the next."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt(3): at or above the threshold a block is mapped anew each time, unless so many are mapped
# already; above the trim threshold freed memory goes back to the system
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MIB = 1 << 20
_depth = 0
_lock = threading.Lock()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let glibc keep what is freed inside the block, and hand it back to the system at its end.

    A step frees all its maps. Given back to the system, each page of them costs a fault at the next
    step. Elsewhere than under glibc nothing is done.
    """
    global _depth
    libc = _glibc()
    if libc is None:
        yield
        return
    with _lock:
        _depth += 1
        libc.mallopt(_MMAP_THRESHOLD, 32 * _MIB)  # the most that it takes: for the time after
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2048 * _MIB - 1)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth:
                libc.mallopt(_MMAP_MAX, 65_536)  # what glibc begins with
                libc.mallopt(_TRIM_THRESHOLD, 64 * _MIB)  # the most that glibc chooses by itself
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
