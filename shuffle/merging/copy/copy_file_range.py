"""copy_file_range(2) between explicit offsets: the kernel copies, or shares blocks, or asks the server to.

No file position moves, so what is asserted is the sum of bytes, here, and the target's size at the end, in the merge.
"""

from __future__ import annotations

from shuffle.merging.copy.in_kernel import copy_in_kernel
from shuffle.merging.copy.job import CopyJob, Piece
from shuffle.merging.copy.outcome import Outcome


def copy_with_copy_file_range(job: CopyJob, start: int, stop: int) -> Outcome:
    """Copy the target's bytes ``[start, stop)``; see ``copy_in_kernel``."""
    call, target = job.kernel.copy_file_range, job.target.descriptor

    def transfer(source: int, piece: Piece, copied: int) -> int:
        return call(source, target, piece.byte_count - copied, piece.source_offset + copied, piece.position + copied)

    return copy_in_kernel(job, start, stop, "copy_file_range", transfer)
