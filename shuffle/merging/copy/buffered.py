"""Copying through a buffer of this process: works everywhere, so it is the ladder's last rung.

Small pieces are collected, so that the target is written a buffer at a time.
"""

from __future__ import annotations

from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.outcome import Outcome

BUFFER_BYTES = 1 << 20  # stays in the second-level cache between reading and writing; larger ones measured slower


def copy_with_buffer(job: CopyJob, start: int, stop: int) -> Outcome:
    """Copy the target's bytes ``[start, stop)``.

    Raises:
        TruncatedError: a source ends before its bytes do.
        PositionError: the kernel claims to have read or written more than it was asked for.
        OSError: reading or writing failed; it names the file.
    """
    buffer = job.buffer("buffered", min(BUFFER_BYTES, max(stop - start, 1)))
    filled = 0
    written = start
    system_calls = 0
    for piece in job.pieces(start, stop):
        read = 0
        while read < piece.byte_count:
            if filled == len(buffer):
                system_calls += job.write(buffer, written)
                written += filled
                filled = 0
            wanted = min(piece.byte_count - read, len(buffer) - filled)
            offset = piece.source_offset + read
            count = job.read(piece.source, buffer[filled : filled + wanted], offset)
            if count == 0:
                raise job.truncated(piece.source, offset, piece.byte_count - read)
            system_calls += 1
            read += count
            filled += count
    system_calls += job.write(buffer[:filled], written)
    return Outcome(stop, system_calls)
