"""Which alignment ranges get where ``"auto"`` was asked for: that of the file system's blocks where merges can then
share blocks instead of copying, and where padding costs next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike

from shuffle.machine.kernel import Kernel, SystemKernel
from spill_format.messages import is_alignment
from spill_format.storage.publication import PendingFile, open_pending

SMALL_ALIGNMENT = 64
"""Arrow's own: what SIMD instructions and cache lines want."""
TOLERATED_PADDING = 0.02  # of the bytes of ranges; cloning saves far more, reading loses no more than this


def choose_alignment(expected_bytes: int, partition_count: int, block_bytes: int | None) -> int:
    """The alignment, in bytes, of a file whose ranges have ``expected_bytes`` together.

    Args:
        expected_bytes: of all ranges, as far as it is known.
        partition_count: P; each range wastes half an alignment on the average.
        block_bytes: the file system's block, if blocks can be shared there; None if not.
    """
    if block_bytes is None or not is_alignment(block_bytes) or block_bytes <= SMALL_ALIGNMENT:
        return SMALL_ALIGNMENT
    padding = partition_count * block_bytes / 2
    return block_bytes if padding < TOLERATED_PADDING * expected_bytes else SMALL_ALIGNMENT


def shared_block_bytes(directories: Sequence[str | PathLike[str]], kernel: Kernel | None = None) -> int | None:
    """The size of blocks that files of all these directories can share with those of the first: tried, with files that
    have no names. None where they cannot, or where it cannot be tried."""
    kernel = kernel or SystemKernel()
    try:
        with _scratch_file(directories[0]) as target:
            block_bytes = os.fstatvfs(target.descriptor).f_frsize
            for directory in directories:
                with _scratch_file(directory) as source:
                    # No hole, which some file systems clone as one without having to share anything.
                    os.write(source.descriptor, b"\1" * block_bytes)
                    kernel.clone_range(source.descriptor, target.descriptor, block_bytes, 0, 0)
    except OSError:
        return None
    return block_bytes


def _scratch_file(directory: str | PathLike[str]) -> PendingFile:
    """A file that is never published."""
    return open_pending(os.path.join(directory, ".shuffle-alignment"), overwrite=True)
