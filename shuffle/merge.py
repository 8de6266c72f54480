"""Merging: check the sources, plan, copy, check, publish. The order in which things happen is decided here alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from os import PathLike

from shuffle.config import MergeOptions
from shuffle.copy.job import ignore_progress
from shuffle.formats import MergeFormat, format_of
from shuffle.kernel import Kernel
from shuffle.plan import plan_merge
from shuffle.report import MergeReport
from shuffle.sources import Source, check_partition_counts, find_sources
from shuffle.target_writer import PreparedMerge, Progress, write_merged
from shuffle.warning import warn
from spill_format.publish import open_pending


def merge(
    sources: Iterable[str | PathLike[str]],
    target: str | PathLike[str],
    options: MergeOptions | None = None,
    *,
    progress: Progress = ignore_progress,
    kernel: Kernel | None = None,
) -> MergeReport:
    """Concatenate, partition by partition, the ranges of all sources into one new file.

    Args:
        sources: partitioned files, or directories of spills (``*.spill.arrow``), in the order in which their rows shall
            stand within a partition. Also the second of two equal ones is merged.
        target: the file to publish; whole, or not at all.
        options: see ``MergeOptions``.
        progress: see ``Progress``.
        kernel: the system calls to use; for tests.

    Raises:
        ValueError: there are no sources, or a directory without spills; or the target is a source to be deleted.
        MismatchError: schemas or partition counts differ.
        CorruptError, TruncatedError, ChecksumError, VersionError, NotPartitionedError: a source is not sound.
        PositionError: a position assertion failed, and ``transfer_to`` is ``"on"``.
        TargetExistsError: the target is there, and ``overwrite`` is off.
        OSError: as the operating system gives it.

    After an error the target is what it was, and nothing else was written. Descriptors are closed, always.
    """
    started = time.perf_counter()
    prepared = prepare_merge(find_sources(sources))
    return merge_prepared(prepared, target, options, progress=progress, kernel=kernel, started=started)


def merge_prepared(
    prepared: PreparedMerge,
    target: str | PathLike[str],
    options: MergeOptions | None = None,
    *,
    progress: Progress = ignore_progress,
    kernel: Kernel | None = None,
    started: float | None = None,
) -> MergeReport:
    """The rest of ``merge``, for who wants to know the plan first; ``started`` is when preparing began.

    Raises:
        As ``merge`` does, but for what concerns the sources alone.
    """
    started = time.perf_counter() if started is None else started
    options = options or MergeOptions()
    prepared.format.check_target(target)
    if options.delete_sources:
        _refuse_target_among_sources(prepared.sources, target)
    with open_pending(target, overwrite=options.overwrite, durable=options.durable) as pending:
        report = write_merged(prepared, pending, options, progress=progress, kernel=kernel, started=started)
        prepared.format.publish(pending, prepared.plan, options)
    if options.delete_sources:
        _delete(prepared)
    return report


def prepare_merge(paths: Sequence[str | PathLike[str]]) -> PreparedMerge:
    """Look before touching: open every source, check it and all of them together, and plan.

    Raises:
        As ``merge`` does, but for what concerns the target.
    """
    merge_format = format_of(paths)
    return plan_sources([merge_format.open_source(path) for path in paths], merge_format)


def plan_sources(sources: Sequence[Source], merge_format: MergeFormat) -> PreparedMerge:
    """The merge of sources whose layouts were read already.

    Raises:
        ValueError: there are none.
        MismatchError: schemas or partition counts differ.
    """
    if not sources:
        raise ValueError("there is nothing to merge: no sources")
    check_partition_counts(sources)
    merge_format.check_agreement(sources)
    header = merge_format.header(sources)
    plan = plan_merge([source.layout for source in sources], len(header))
    return PreparedMerge(sources, merge_format, header, plan)


def _refuse_target_among_sources(sources: Sequence[Source], target: str | PathLike[str]) -> None:
    for source in sources:
        if os.path.realpath(source.path) == os.path.realpath(target):
            raise ValueError(f"{source.path} is the target and a source: it would be deleted")


def _delete(prepared: PreparedMerge) -> None:
    for path, source in {source.path: source for source in prepared.sources}.items():
        try:
            prepared.format.delete(source)
        except OSError as error:
            # The merge has succeeded; only the tidying has not.
            warn(f"the source {path} could not be deleted: {error.strerror}")
