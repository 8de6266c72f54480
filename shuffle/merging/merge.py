"""Merging: check the sources, plan, copy, check, publish. The order in which things happen is decided here alone."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any, Unpack

import numpy as np

from shuffle.machine.io_priority import io_priority
from shuffle.machine.kernel import Kernel, SystemKernel
from shuffle.machine.paced_kernel import PacedKernel
from shuffle.merging.copy.job import ignore_progress
from shuffle.merging.formats import FormatName, MergeFormat, resolve_format
from shuffle.merging.metrics import metrics_written
from shuffle.merging.plan import plan_merge
from shuffle.merging.repetition import is_merged_already
from shuffle.merging.sources import (
    NO_FILE,
    Source,
    SourceSearch,
    check_partition_counts,
    identity_of,
    list_of,
)
from shuffle.merging.target_writer import PreparedMerge, Progress, preview_merge, write_merged
from shuffle.numbering import numbers_within
from shuffle.option_kinds import options_of
from shuffle.options import MergeKeywords, MergeOptions
from shuffle.report import MergeReport, SkippedSource
from shuffle.warning import warn
from spill_format.errors import SpillError, TargetExistsError
from spill_format.storage.publication import PendingFile, make_durable, open_pending

_LOG = logging.getLogger("shuffle.merging")


def merge(
    sources: Iterable[str | PathLike[str]],
    target: str | PathLike[str],
    options: MergeOptions | None = None,
    *,
    file_format: FormatName | MergeFormat = "auto",
    progress: Callable[[int, int], None] | None = None,
    kernel: Kernel | None = None,
    **keywords: Unpack[MergeKeywords],
) -> MergeReport:
    """Concatenate, partition by partition, the ranges of all sources into one new file.

    Args:
        sources: partitioned files, or directories of spills (``*.spill.arrow``), in the order in which their rows shall
            stand within a partition. Also the second of two equal ones is merged. For Spark's format ``X.data`` files,
            and directories for the outputs of one shuffle below them, in the order of its maps.
        target: the file to publish; whole, or not at all. In Spark's format ``Y.data``, with its companions.
        options, keywords: see ``MergeOptions``; each option is also a keyword, as in ``overwrite=True``.
        file_format: ``"arrow"``, ``"spark"`` or a ``SparkFormat``; ``"auto"`` takes what the sources plainly are.
        progress: called with the bytes copied so far, and with the bytes that there are, every few MiB and perhaps by
            several threads in turn. What was copied falls to 0 where it had to be discarded.
        kernel: the system calls to use; for tests.

    Raises:
        ValueError: there are no sources, or a directory without spills; or the target is a source to be deleted; or
            Spark's files are to be compacted; or there is no such partition.
        MismatchError: schemas or partition counts differ.
        BadSourcesError: several sources cannot be merged; it has the error of each.
        CorruptError, TruncatedError, ChecksumError, VersionError, NotPartitionedError: a source is not sound.
        PositionError: a position assertion failed, and ``transfer_to`` is ``"on"``.
        TargetExistsError: the target is there, and ``overwrite`` is off. In Spark's format the result of this very
            merge is no error: the report says ``repeated``.
        OSError: as the operating system gives it.

    After an error the target is what it was, and nothing else was written. Descriptors are closed, always.
    """
    started = time.perf_counter()
    options = options_of(MergeOptions, options, keywords)
    with metrics_written(options) as note:
        prepared = prepare_merge(sources, file_format, target, options)
        told = ignore_progress if progress is None else _with_totals(progress, prepared.plan.byte_count)
        report = merge_prepared(prepared, target, options, progress=told, kernel=kernel, started=started)
        note(report)
    return report


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
    if options.compact:
        _refuse_opaque(prepared.sources)
    if options.delete_sources:
        _refuse_target_among_sources(prepared.sources, target)
    if options.dry_run:
        return preview_merge(prepared, target, options)
    if is_merged_already(prepared, target, options):
        _LOG.info("%s: merged already", target)
        return _repeated(prepared, target, options, started)
    if options.limit_rate is not None:
        kernel = PacedKernel(kernel or SystemKernel(), options.limit_rate, reads=options.compact)
    _LOG.info("%s: merging %s", target, prepared.plan)
    try:
        with (
            open_pending(target, overwrite=options.overwrite, durable=options.syncs) as pending,
            io_priority(options.io_priority) as is_given_way,
        ):
            if not is_given_way:
                warn("the kernel takes no priority for input and output: io_priority has no effect")
            write = _write_compacted if options.compact else write_merged
            report = write(prepared, pending, options, progress=progress, kernel=kernel, started=started)
            prepared.format.publish(pending, prepared.trailer, options)
    except TargetExistsError:
        if not is_merged_already(prepared, target, options):
            raise
        return _repeated(prepared, target, options, started)
    _LOG.info("%s: published: %s", target, report)
    if options.delete_sources:
        _delete(prepared)
    return report


def prepare_merge(
    paths: Iterable[str | PathLike[str]],
    file_format: FormatName | MergeFormat = "auto",
    target: str | PathLike[str] | None = None,
    options: MergeOptions | None = None,
) -> PreparedMerge:
    """Look before touching: open every source, check it and all of them together, and plan.

    Raises:
        As ``merge`` does, but for what concerns the target.
    """
    options = options or MergeOptions()
    listed = list_of(paths)
    merge_format = resolve_format(file_format, listed)
    search = SourceSearch(target)
    sources = merge_format.open_sources(listed, search)
    if options.delete_sources and search.target_left_out and target is not None:
        # An earlier result, or a spill whose rows no other file would have: nobody can tell.
        raise ValueError(f"{os.fspath(target)} is the target and a source: it would be deleted")
    if options.overwrite and search.target_left_out and target is not None:
        warn(f"{os.fspath(target)} lies in a source directory: it is replaced, and its rows are not merged")
    skipped = search.settle(skip_damaged=options.skip_damaged)
    for source in skipped:
        _LOG.warning("left out: %s", source.problem)
    return plan_sources(sources, merge_format, options, skipped)


def plan_sources(
    sources: Sequence[Source],
    merge_format: MergeFormat,
    options: MergeOptions | None = None,
    skipped: tuple[SkippedSource, ...] = (),
) -> PreparedMerge:
    """The merge of sources whose layouts were read already.

    Raises:
        ValueError: there are none.
        MismatchError: schemas, partition counts or, unless they may be mixed, partitioners differ.
        BadSourcesError: several sources differ from the first.
    """
    if not sources:
        why = f": all of the {len(skipped)} sources are damaged" if skipped else ": no sources"
        raise ValueError(f"there is nothing to merge{why}")
    check_partition_counts(sources)
    mix_partitioners = options is not None and options.mix_partitioners
    merge_format.check_agreement(sources, mix_partitioners=mix_partitioners, missing_spills=len(skipped))
    header = merge_format.header(sources)
    chosen = None
    if options is not None and options.partitions is not None:
        chosen = np.zeros(sources[0].layout.partition_count, dtype=bool)
        for numbers in numbers_within(options.partitions, len(chosen), sources[0].path):
            chosen[numbers.start : numbers.stop] = True
    plan = plan_merge([source.layout for source in sources], len(header), chosen)
    return PreparedMerge(sources, merge_format, header, plan, skipped)


def _with_totals(progress: Callable[[int, int], None], total: int) -> Progress:
    """What sums up the bytes that threads tell of."""
    lock = threading.Lock()
    done = 0

    def told(byte_count: int) -> None:
        nonlocal done
        with lock:
            done += byte_count
            progress(done, total)

    return told


def _repeated(
    prepared: PreparedMerge, target: str | PathLike[str], options: MergeOptions, started: float
) -> MergeReport:
    """The report of a merge that was done before; its sources may still wait for their deletion."""
    if options.delete_sources:
        for path in prepared.format.files_of(target):
            make_durable(path)
        _delete(prepared)
    return prepared.report(os.fspath(target), started, verified=options.verify, repeated=True)


def _write_compacted(
    prepared: PreparedMerge, pending: PendingFile, options: MergeOptions, **others: Any
) -> MergeReport:
    # To decode takes pyarrow, and that its import.
    from shuffle.merging.compaction import write_compacted

    return write_compacted(prepared, pending, options, **others)


def _refuse_opaque(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.structure is None:
            raise ValueError(
                f"{source.path}: Spark's bytes are never decoded here, so they cannot be compacted: leave compact off"
            )


def _refuse_target_among_sources(sources: Sequence[Source], target: str | PathLike[str]) -> None:
    for source in sources:
        if os.path.realpath(source.path) == os.path.realpath(target):
            raise ValueError(f"{source.path} is the target and a source: it would be deleted")


def _delete(prepared: PreparedMerge) -> None:
    """Remove the sources that were merged; raise SpillError, after all others, for one that is not what was merged."""
    changed = None
    for path, source in {source.path: source for source in prepared.sources}.items():
        try:
            if (identity := identity_of(path)) in {source.identity, NO_FILE}:
                prepared.format.delete(source)
                _LOG.info("%s: deleted", path)
            else:
                changed = SpillError(
                    "published, but this source changed after it was merged, and stays",
                    path=path,
                    expected=str(source.identity),
                    actual=str(identity),
                    advice="merge it again",
                )
        except OSError as error:
            # The merge has succeeded; only the tidying has not.
            warn(f"the source {path} could not be deleted: {error.strerror}")
    if changed is not None:
        raise changed
