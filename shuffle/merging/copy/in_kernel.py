"""The loop that copying inside the kernel has in common: short counts, zero counts, counts that cannot be."""

from __future__ import annotations

from collections.abc import Callable

from shuffle.merging.copy.errno_policy import fall_back
from shuffle.merging.copy.job import CopyJob, Piece
from shuffle.merging.copy.outcome import Obstacle, Outcome

Transfer = Callable[[int, Piece, int], int]
"""Copies the rest of a piece from a source's descriptor, past the bytes already copied; how many it copied."""


def copy_in_kernel(job: CopyJob, start: int, stop: int, method: str, transfer: Transfer) -> Outcome:
    """Copy the target's bytes ``[start, stop)`` with ``transfer``, a system call.

    Raises:
        TruncatedError: a source ends before its bytes do.
        PositionError: the call claims to have copied less than nothing or more than it was asked for.
        OSError: an error that no other method would be spared.
    """
    system_calls = 0
    for piece in job.pieces(start, stop):
        descriptor = job.descriptors.descriptor(piece.source)
        copied = 0
        while copied < piece.byte_count:
            try:
                count = transfer(descriptor, piece, copied)
            except OSError as error:
                reason = fall_back(error)
                if reason is None:
                    raise job.failed(method, piece, error) from error
                return Outcome(piece.position + copied, system_calls, Obstacle(reason.why, error.errno))
            system_calls += 1
            if count == 0:
                if _has_byte(job, piece.source, piece.source_offset + copied):
                    obstacle = Obstacle("the call copied nothing and said that all is well")
                    return Outcome(piece.position + copied, system_calls, obstacle)
                raise job.truncated(piece.source, piece.source_offset + copied, piece.byte_count - copied)
            copied += count
            if count < 0 or copied > piece.byte_count:
                raise job.misplaced(method, piece, "bytes copied", piece.byte_count, copied)
    return Outcome(stop, system_calls)


def _has_byte(job: CopyJob, source: int, offset: int) -> bool:
    """Whether the source has a byte there: tells a truncated source from a kernel that copies nothing."""
    return job.read(source, memoryview(bytearray(1)), offset) == 1
