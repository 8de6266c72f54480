"""Recognizing a merge that was done before, as a scheduler starts a task again: it succeeds, and writes nothing.

Nothing here replaces or removes a file; what was left unfinished by a crash is finished.
"""

from __future__ import annotations

import os
from os import PathLike

from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy.job import Target
from shuffle.merging.target_writer import PreparedMerge
from shuffle.merging.verification import verify_target
from shuffle.options import MergeOptions
from spill_format.errors import ChecksumError, TargetExistsError
from spill_format.storage.local import open_regular


def is_merged_already(prepared: PreparedMerge, target: str | PathLike[str], options: MergeOptions) -> bool:
    """Whether the target is there, as the result of this very merge; an unfinished one is finished.

    What does not record checksums is read and compared with the sources, and with ``verify`` also what does.

    Raises:
        OSError: the target or a source cannot be read.
    """
    if options.overwrite:
        return False
    state = prepared.format.compare_target(target, prepared.trailer)
    if state in {"none", "other"}:
        return False
    if (state != "same" or options.verify) and not holds_the_same_bytes(prepared, os.fspath(target)):
        return False
    if state == "unfinished":
        try:
            prepared.format.finish(target, prepared.trailer, options)
        except TargetExistsError:  # by now: who published it was not dead but slow
            return is_merged_already(prepared, target, options)
    return True


def holds_the_same_bytes(prepared: PreparedMerge, target: str) -> bool:
    """Whether the ranges of an existing target are those of the sources, by reading both; OSError if they cannot be."""
    if os.path.getsize(target) != prepared.plan.stop:
        return False
    descriptor = open_regular(target)
    try:
        verify_target(Target(descriptor, target), prepared.plan, prepared.sources, SystemKernel())
    except ChecksumError:
        return False
    finally:
        os.close(descriptor)
    return True
