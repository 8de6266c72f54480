"""Sharing blocks: the target's range becomes another reference to the source's blocks, and no data moves.

FICLONERANGE rather than copy_file_range, since it clones or fails and never copies behind one's back. Offsets and
lengths must be multiples of the file system's block; ``choice.py`` cuts spans so that they are.
"""

from __future__ import annotations

from shuffle.merging.copy.errno_policy import fall_back
from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.outcome import Obstacle, Outcome


def copy_with_clone(job: CopyJob, start: int, stop: int) -> Outcome:
    """Share the target's bytes ``[start, stop)`` with the sources.

    Raises:
        OSError: an error that no other method would be spared.
    """
    system_calls = 0
    target = job.target.descriptor
    for piece in job.pieces(start, stop):
        descriptor = job.descriptors.descriptor(piece.source)
        try:
            job.kernel.clone_range(descriptor, target, piece.byte_count, piece.source_offset, piece.position)
        except OSError as error:
            reason = fall_back(error)
            if reason is None:
                raise job.failed("clone", piece, error) from error
            return Outcome(piece.position, system_calls, Obstacle(reason.why, error.errno))
        system_calls += 1
    return Outcome(stop, system_calls)
