"""Whether a network fits into memory, said before any of it is allocated."""

from __future__ import annotations

import os

from kzoo.config import ConfigError

TRAINING_COPIES = 4  # weights, their gradients, and the two averages of an optimizer such as Adam
_MEMINFO = "/proc/meminfo"
_BYTES = 4  # of a weight: float32, also where products are in half precision


def refuse_too_large(what: str, weights: int | None, *, copies: int = 1) -> None:
    """Raise ConfigError where `copies` of so many weights do not fit into the memory that is free.

    weights: None where nobody knows how many there will be, which passes; so does a machine that
    does not say how much memory is free.
    """
    free = free_bytes()
    if weights is None or free is None or copies * weights * _BYTES <= free:
        return
    raise ConfigError(
        f"{what}: {weights:,} weights take {_gigabytes(copies * weights * _BYTES)}"
        f"{' with their gradients and averages' if copies > 1 else ''}, and "
        f"{_gigabytes(free)} of memory are free: choose a smaller variant, or fewer units"
    )


def free_bytes() -> int | None:
    """Memory that could be taken without swapping; None where the system does not say."""
    try:
        with open(_MEMINFO, encoding="ascii") as lines:
            sizes = dict(line.split(":", 1) for line in lines)
        return 1024 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
