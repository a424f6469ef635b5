"""How this process's allocator treats vectors (glibc only; elsewhere nothing is changed).

glibc gives every large block back to the system when it is freed, and gets zeroed pages for the next one: a vector
of a million elements costs 2,000 page faults each time.  A daemon frees and allocates vectors of the same few sizes
all day; keeping the blocks saved 13 to 21 % of the CPU of
a bulk multiplication in three noisy pairs of runs.  The price is that memory once used
by a session stays with the process, up to `KEPT_BYTES_MAX`.
"""

from __future__ import annotations

import ctypes
from typing import Final

KEPT_BYTES_MAX: Final = 256 * 2**20
"""Free memory at the end of the heap beyond this goes back to the system."""
_BLOCK_BYTES_MAX: Final = 32 * 2**20
"""glibc takes no larger threshold: blocks above it are always mapped on their own."""
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_vectors() -> bool:
    """Ask glibc to keep freed blocks for the next vector; False where there is no such allocator."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _BLOCK_BYTES_MAX),
        (_M_TRIM_THRESHOLD, KEPT_BYTES_MAX),
        (_M_TOP_PAD, _BLOCK_BYTES_MAX),
    )
    return all(mallopt(option, value) == 1 for option, value in settings)
