"""Memory that was freed, given back to the system: what planning needs afterwards is not taken beside it."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def give_back_memory() -> None:
    """Give back what Arrow's pools and, where it is GNU's, the C library keep of what was freed."""
    pa.system_memory_pool().release_unused()
    pa.default_memory_pool().release_unused()
    try:
        trim = ctypes.CDLL(None).malloc_trim  # pyarrow 26 does not call it: 48 MiB stayed after release_unused, seen
    except AttributeError:  # another library
        return
    trim(0)
