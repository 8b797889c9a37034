"""Memory that a training keeps between its steps: glibc gives large arrays back at once."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt, from glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to 2 GB, where its C library is glibc.

    TensorFlow takes the arrays of each operation from malloc and frees them after it. glibc maps
    large ones anew each time, and half of a step's time can go into the kernel's clearing of pages
    that the process has just had: a step of Open-Unmix took 1.4 times as long.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)
