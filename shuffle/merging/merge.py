"""Merging: check the sources, plan, copy, check, publish. The order in which things happen is decided here alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, Unpack

from shuffle.machine.kernel import Kernel
from shuffle.merging.copy.job import ignore_progress
from shuffle.merging.formats import FormatName, MergeFormat, resolve_format
from shuffle.merging.plan import plan_merge
from shuffle.merging.repetition import is_merged_already
from shuffle.merging.sources import NO_FILE, Source, check_partition_counts, identity_of, list_of
from shuffle.merging.target_writer import PreparedMerge, Progress, write_merged
from shuffle.option_kinds import options_of
from shuffle.options import MergeKeywords, MergeOptions
from shuffle.report import MergeReport
from shuffle.warning import warn
from spill_format.errors import SpillError, TargetExistsError
from spill_format.storage.publication import PendingFile, make_durable, open_pending


def merge(
    sources: Iterable[str | PathLike[str]],
    target: str | PathLike[str],
    options: MergeOptions | None = None,
    *,
    file_format: FormatName | MergeFormat = "auto",
    progress: Progress = ignore_progress,
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
        progress: see ``Progress``.
        kernel: the system calls to use; for tests.

    Raises:
        ValueError: there are no sources, or a directory without spills; or the target is a source to be deleted; or
            Spark's files are to be compacted.
        MismatchError: schemas or partition counts differ.
        CorruptError, TruncatedError, ChecksumError, VersionError, NotPartitionedError: a source is not sound.
        PositionError: a position assertion failed, and ``transfer_to`` is ``"on"``.
        TargetExistsError: the target is there, and ``overwrite`` is off. In Spark's format the result of this very
            merge is no error: the report says ``repeated``.
        OSError: as the operating system gives it.

    After an error the target is what it was, and nothing else was written. Descriptors are closed, always.
    """
    started = time.perf_counter()
    options = options_of(MergeOptions, options, keywords)
    prepared = prepare_merge(sources, file_format, mix_partitioners=options.mix_partitioners)
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
    if options.compact:
        _refuse_opaque(prepared.sources)
    if options.delete_sources:
        _refuse_target_among_sources(prepared.sources, target)
    if is_merged_already(prepared, target, options):
        return _repeated(prepared, target, options, started)
    try:
        with open_pending(target, overwrite=options.overwrite, durable=options.syncs) as pending:
            write = _write_compacted if options.compact else write_merged
            report = write(prepared, pending, options, progress=progress, kernel=kernel, started=started)
            prepared.format.publish(pending, prepared.trailer, options)
    except TargetExistsError:
        if not is_merged_already(prepared, target, options):
            raise
        return _repeated(prepared, target, options, started)
    if options.delete_sources:
        _delete(prepared)
    return report


def prepare_merge(
    paths: Iterable[str | PathLike[str]],
    file_format: FormatName | MergeFormat = "auto",
    *,
    mix_partitioners: bool = False,
) -> PreparedMerge:
    """Look before touching: open every source, check it and all of them together, and plan.

    Raises:
        As ``merge`` does, but for what concerns the target.
    """
    listed = list_of(paths)
    merge_format = resolve_format(file_format, listed)
    return plan_sources(merge_format.open_sources(listed), merge_format, mix_partitioners=mix_partitioners)


def plan_sources(
    sources: Sequence[Source], merge_format: MergeFormat, *, mix_partitioners: bool = False
) -> PreparedMerge:
    """The merge of sources whose layouts were read already.

    Raises:
        ValueError: there are none.
        MismatchError: schemas, partition counts or, unless ``mix_partitioners``, partitioners differ.
    """
    if not sources:
        raise ValueError("there is nothing to merge: no sources")
    check_partition_counts(sources)
    merge_format.check_agreement(sources, mix_partitioners=mix_partitioners)
    header = merge_format.header(sources)
    plan = plan_merge([source.layout for source in sources], len(header))
    return PreparedMerge(sources, merge_format, header, plan)


def _repeated(
    prepared: PreparedMerge, target: str | PathLike[str], options: MergeOptions, started: float
) -> MergeReport:
    """The report of a merge that was done before; its sources may still wait for their deletion."""
    if options.delete_sources:
        for path in prepared.format.files_of(target):
            make_durable(path)
        _delete(prepared)
    plan = prepared.plan
    return MergeReport(
        target=os.fspath(target),
        source_count=plan.source_count,
        partition_count=plan.partition_count,
        row_count=prepared.trailer.layout.row_count,
        range_count=plan.range_count,
        segment_count=plan.segment_count,
        byte_count=plan.byte_count,
        target_bytes=plan.end + len(prepared.trailer.content),
        verified=options.verify,
        repeated=True,
        seconds=time.perf_counter() - started,
    )


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
