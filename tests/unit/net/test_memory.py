"""The allocator's settings, in a process of their own."""

from __future__ import annotations

import resource
import subprocess
import sys

_PROGRAM = """
import resource
import numpy as np
from mpcd.net.memory import keep_freed_vectors
assert keep_freed_vectors()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        vector = np.empty(3_000_000, np.uint8)
        vector[::4096] = 1
        del vector
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def test_the_next_vector_of_the_same_size_costs_no_page_faults() -> None:
    assert resource.getpagesize() >= 4096
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200  # fresh memory costs some 14,000
