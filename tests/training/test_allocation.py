"""What a training frees it has again without asking the kernel."""

import platform
import resource

import numpy as np
import pytest

from kzoo.training.allocation import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has such options")
def test_a_large_array_is_made_of_what_was_freed_before():
    keep_freed_memory()
    faults = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.empty(8_000_000).fill(1.0)  # 64 MB, 32 pages at least
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(faults[1:]) < 16, faults
