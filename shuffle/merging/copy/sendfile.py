"""sendfile(2) from an offset of the source to the target's file position, which is asserted after every call.

That assertion is Spark's answer to Linux 2.6.32, where the position did not advance and shuffle output was corrupt
(SPARK-3948). Spark opens its output for appending, which sendfile refuses; here the position is set before.
"""

from __future__ import annotations

from shuffle.merging.copy.in_kernel import copy_in_kernel
from shuffle.merging.copy.job import CopyJob, Piece
from shuffle.merging.copy.outcome import Outcome


def copy_with_sendfile(job: CopyJob, start: int, stop: int) -> Outcome:
    """Copy the target's bytes ``[start, stop)``; see ``copy_in_kernel``.

    Raises:
        PositionError: after a call the target's file position is not where the bytes copied put it.
    """
    kernel, target = job.kernel, job.target.descriptor
    kernel.seek(target, start)

    def transfer(source: int, piece: Piece, copied: int) -> int:
        count = kernel.sendfile(target, source, piece.source_offset + copied, piece.byte_count - copied)
        expected = piece.position + copied + count
        if (position := kernel.position(target)) != expected:
            raise job.misplaced("sendfile", piece, "the target's file position", expected, position)
        return count

    return copy_in_kernel(job, start, stop, "sendfile", transfer)
