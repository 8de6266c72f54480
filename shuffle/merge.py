"""Merging: check the sources, plan, copy, check, publish. The order in which things happen is decided here alone."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from types import FrameType

from shuffle.arrow_target import target_header, target_trailer
from shuffle.config import MergeOptions, MethodName
from shuffle.copy.job import Target, ignore_progress, switch_off_advice
from shuffle.copy.ladder import CopyResult, copy_plan, ladder_of
from shuffle.kernel import Kernel, SystemKernel
from shuffle.plan import MergePlan, plan_merge
from shuffle.report import MergeReport
from shuffle.sources import Source, check_agreement, find_sources, open_source
from spill_format.errors import PositionError
from spill_format.publish import PendingFile, open_pending

Progress = Callable[[int], None]
"""Told how many further bytes are copied; negative when they were discarded. May be called from several threads."""


class ShuffleWarning(UserWarning):
    """Something went otherwise than it should, and the result is right all the same."""


@dataclass(frozen=True, slots=True)
class PreparedMerge:
    """Sources that were read and found to agree, and what to do with them. Nothing is open, nothing written."""

    sources: Sequence[Source]
    header: bytes
    plan: MergePlan


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
    if options.delete_sources:
        _refuse_target_among_sources(prepared.sources, target)
    with open_pending(target, overwrite=options.overwrite, durable=options.durable) as pending:
        report = write_merged(prepared, pending, options, progress=progress, kernel=kernel, started=started)
        pending.publish()
    if options.delete_sources:
        _delete(prepared.sources)
    return report


def prepare_merge(paths: Sequence[str | PathLike[str]]) -> PreparedMerge:
    """Look before touching: open every source, check it and all of them together, and plan.

    Raises:
        As ``merge`` does, but for what concerns the target.
    """
    return plan_sources([open_source(path) for path in paths])


def plan_sources(sources: Sequence[Source]) -> PreparedMerge:
    """The merge of sources that are open already.

    Raises:
        ValueError: there are none.
        MismatchError: schemas or partition counts differ.
    """
    if not sources:
        raise ValueError("there is nothing to merge: no sources")
    check_agreement(sources)
    header = target_header([source.structure for source in sources])
    return PreparedMerge(sources, header, plan_merge([source.layout for source in sources], len(header)))


def write_merged(
    prepared: PreparedMerge,
    pending: PendingFile,
    options: MergeOptions,
    *,
    progress: Progress = ignore_progress,
    kernel: Kernel | None = None,
    started: float | None = None,
) -> MergeReport:
    """Write a merge's whole output into a file that is not yet published.

    Raises:
        As ``merge`` does while copying.
    """
    started = time.perf_counter() if started is None else started
    copy = _Copy(prepared, pending, options.threads, kernel or SystemKernel(), progress)
    rebuilt = None
    ladder = ladder_of(options)
    try:
        result = copy.run(ladder)
    except PositionError as error:
        if options.transfer_to != "auto" or ladder == ["buffered"]:
            raise
        rebuilt = str(error)
        _warn(f"rebuilding {pending.path} with buffered copying: {error}")
        copy.undo()
        result = copy.run(["buffered"])
    plan = prepared.plan
    layout, trailer = target_trailer([source.structure for source in prepared.sources], plan)
    _write(pending, trailer, plan.end)
    return MergeReport(
        target=str(pending.path),
        source_count=plan.source_count,
        partition_count=plan.partition_count,
        row_count=layout.row_count or 0,
        range_count=plan.range_count,
        segment_count=plan.segment_count,
        byte_count=plan.byte_count,
        target_bytes=plan.end + len(trailer),
        methods=result.methods,
        fallbacks=tuple(result.fallbacks),
        rebuilt=rebuilt,
        seconds=time.perf_counter() - started,
    )


class _Copy:
    """Header and ranges of one target: written, checked, and if need be undone."""

    def __init__(
        self, prepared: PreparedMerge, pending: PendingFile, threads: int, kernel: Kernel, progress: Progress
    ) -> None:
        self._prepared = prepared
        self._pending = pending
        self._threads = threads
        self._kernel = kernel
        self._progress = progress
        self._told = 0
        self._lock = threading.Lock()

    def run(self, ladder: Sequence[MethodName]) -> CopyResult:
        """Write header and ranges, and assert the size that they have together."""
        plan, pending = self._prepared.plan, self._pending
        _write(pending, self._prepared.header, 0)
        result = copy_plan(
            plan,
            self._prepared.sources,
            Target(pending.fd, str(pending.path)),
            ladder,
            threads=self._threads,
            kernel=self._kernel,
            progress=self._tell,
        )
        if (size := self._kernel.size(pending.fd)) != plan.end:
            raise PositionError(
                f"after {' and '.join(result.methods) or 'nothing'} of {plan.byte_count} bytes: the target's size",
                path=pending.path,
                expected=plan.end,
                actual=size,
                advice=switch_off_advice(self._kernel),
            )
        return result

    def undo(self) -> None:
        """Make the target empty again."""
        os.ftruncate(self._pending.fd, 0)
        self._progress(-self._told)
        self._told = 0

    def _tell(self, byte_count: int) -> None:
        with self._lock:
            self._told += byte_count
        self._progress(byte_count)


def _write(pending: PendingFile, content: bytes, offset: int) -> None:
    """Write all of ``content`` at an offset."""
    remaining = memoryview(content)
    while remaining:
        try:
            written = os.pwrite(pending.fd, remaining, offset)
        except OSError as error:
            problem = f"{error.strerror}: writing {len(remaining)} bytes at offset {offset}"
            raise OSError(error.errno, problem, str(pending.path)) from error
        remaining = remaining[written:]
        offset += written


def _refuse_target_among_sources(sources: Sequence[Source], target: str | PathLike[str]) -> None:
    for source in sources:
        if os.path.realpath(source.path) == os.path.realpath(target):
            raise ValueError(f"{source.path} is the target and a source: it would be deleted")


def _delete(sources: Sequence[Source]) -> None:
    for path in dict.fromkeys(source.path for source in sources):
        try:
            os.unlink(path)
        except OSError as error:
            # The merge has succeeded; only the tidying has not.
            _warn(f"the source {path} could not be deleted: {error.strerror}")


def _warn(problem: str) -> None:
    """Warn, pointing at the line that called into this package, however deep inside it this is."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "shuffle":
        frame = frame.f_back
        level += 1
    warnings.warn(problem, ShuffleWarning, stacklevel=level)
