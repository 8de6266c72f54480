"""Memory for blocks, used again: what is touched for the first time costs as much as the work that is done in it."""

from __future__ import annotations

import threading

import numpy as np

from shuffle.arrays.gather import UInt8Array

_ROUND_BYTES = 1 << 20  # so that what one block had fits the next


class Arenas:
    """Pieces of memory; numpy asks the system for huge pages for those of 4 MiB and more. Thread-safe.

    Args:
        most_bytes: of pieces that wait to be used again.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._unused: list[UInt8Array] = []
        self._lock = threading.Lock()

    def take(self, byte_count: int) -> UInt8Array:
        """A piece of memory of at least ``byte_count`` bytes; what is in it has no meaning."""
        with self._lock:
            fitting = [arena for arena in self._unused if arena.nbytes >= byte_count]
            if fitting:
                arena = min(fitting, key=lambda arena: arena.nbytes)
                self._unused = [other for other in self._unused if other is not arena]
                return arena
            self._unused.clear()  # rather than hold what is too small beside what is taken
        return np.empty(-(-byte_count // _ROUND_BYTES) * _ROUND_BYTES, np.uint8)

    def give_back(self, arena: UInt8Array) -> None:
        """Let a piece be used again, of which nobody reads any more."""
        with self._lock:
            if sum(other.nbytes for other in self._unused) + arena.nbytes <= self._most_bytes:
                self._unused.append(arena)

    def release(self) -> None:
        """Give the system what is not in use."""
        with self._lock:
            self._unused.clear()
