"""A kernel with a limit of bytes a second, for merges beside running jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from shuffle.machine.kernel import Buffer, Kernel, Runs

_PIECES_A_SECOND = 4


class PacedKernel:
    """A kernel whose calls wait. Sharing blocks moves nothing, and waits for nothing.

    Args:
        kernel: the one to use.
        bytes_per_second: of all threads together.
        reads: count what is read instead of what is written, for work that writes past the kernel.
    """

    def __init__(self, kernel: Kernel, bytes_per_second: int, *, reads: bool = False) -> None:
        self._kernel = kernel
        self._rate = bytes_per_second
        self._reads = reads
        self._free_at = 0.0
        self._lock = threading.Lock()
        self.clone_range: Callable[[int, int, int, int, int], None] = kernel.clone_range
        self.seek: Callable[[int, int], int] = kernel.seek
        self.position: Callable[[int], int] = kernel.position
        self.size: Callable[[int], int] = kernel.size

    @property
    def release(self) -> str:
        """See ``Kernel``."""
        return self._kernel.release

    def copy_file_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> int:
        """See ``Kernel``."""
        piece = self._piece(byte_count)
        return self._paced(self._kernel.copy_file_range(source, target, piece, source_offset, target_offset))

    def sendfile(self, target: int, source: int, source_offset: int, byte_count: int) -> int:
        """See ``Kernel``."""
        return self._paced(self._kernel.sendfile(target, source, source_offset, self._piece(byte_count)))

    def pread(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        """See ``Kernel``."""
        count = self._kernel.pread(descriptor, buffers, offset)
        return self._paced(count) if self._reads else count

    def pread_runs(self, runs: Runs, buffer: memoryview) -> tuple[int, int]:
        """See ``Kernel``."""
        return (0, 0) if self._reads else self._kernel.pread_runs(runs, buffer)

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """See ``Kernel``."""
        count = self._kernel.pwrite(descriptor, buffers, offset)
        return count if self._reads else self._paced(count)

    def _piece(self, byte_count: int) -> int:
        """What is asked for at once: the kernel would copy 128 MiB before anybody could wait."""
        return min(byte_count, max(self._rate // _PIECES_A_SECOND, 1))

    def _paced(self, count: int) -> int:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + max(count, 0) / self._rate
            wait = self._free_at - now
        time.sleep(wait)
        return count
