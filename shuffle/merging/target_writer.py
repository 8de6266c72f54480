"""Writing a merge's whole output into a file that is not yet published: room, copying, checking, rebuilding."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from shuffle.machine.file_systems import free_bytes
from shuffle.machine.kernel import Kernel, SystemKernel
from shuffle.merging.copy.choice import Span, choose, written_bytes
from shuffle.merging.copy.experience import Experience
from shuffle.merging.copy.job import Target, ignore_progress, switch_off_advice, write_all
from shuffle.merging.copy.ladder import CopyResult
from shuffle.merging.copy.workers import copy_spans
from shuffle.merging.formats.protocol import MergeFormat, Trailer
from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import Source, check_unchanged
from shuffle.merging.surroundings import look_around
from shuffle.merging.verification import verify_content, verify_target
from shuffle.options import KERNEL_METHODS, MergeOptions
from shuffle.report import MergeReport, SkippedSource
from shuffle.warning import warn
from spill_format.errors import ChecksumError, PositionError, naming
from spill_format.storage.publication import PendingFile, check_target

Progress = Callable[[int], None]
"""Told how many further bytes are copied; negative when they were discarded. May be called from several threads."""

_LOG = logging.getLogger("shuffle.merging")
_SYSTEM = SystemKernel()
_EXPERIENCE = Experience()  # of that kernel; it survives a merge, so that the next one need not ask again


@dataclass(frozen=True)  # without slots, which leave no place for what is computed once
class PreparedMerge:
    """Sources that were read and found to agree, and what to do with them. Nothing is open, nothing written."""

    sources: Sequence[Source]
    format: MergeFormat
    header: bytes
    plan: MergePlan
    skipped: tuple[SkippedSource, ...] = ()

    def check_unchanged(self) -> None:
        """Check that every source is still what was read of it; see ``sources.check_unchanged``."""
        for source in self.sources:
            check_unchanged(source)

    @cached_property
    def trailer(self) -> Trailer:
        """The target behind its last range."""
        return self.format.trailer(self.sources, self.plan)

    def report(self, target: str, started: float, **others: Any) -> MergeReport:
        """What the merge did; ``others`` are attributes that the plan does not tell."""
        plan = self.plan
        facts = {
            "source_count": plan.source_count,
            "partition_count": plan.partition_count,
            "row_count": self.trailer.layout.row_count,
            "range_count": plan.range_count,
            "segment_count": plan.segment_count,
            "byte_count": plan.byte_count,
            "target_bytes": plan.stop + len(self.trailer.content),
            "skipped": self.skipped,
            "seconds": time.perf_counter() - started,
        }
        return MergeReport(target=target, **facts | others)


def write_merged(
    prepared: PreparedMerge,
    pending: PendingFile,
    options: MergeOptions,
    *,
    progress: Progress = ignore_progress,
    kernel: Kernel | None = None,
    started: float | None = None,
) -> MergeReport:
    """Write a merge's whole output into ``pending``.

    Raises:
        As ``merge`` does while copying. OSError with ENOSPC, before anything is copied, where there is
        less room than will be written.
    """
    started = time.perf_counter() if started is None else started
    experience = _EXPERIENCE if kernel is None else Experience()
    writer = _TargetWriter(prepared, pending, options, kernel or _SYSTEM, progress)
    with naming(pending.path):
        around = look_around(prepared.sources, pending.descriptor, experience)
        spans = choose(prepared.plan, options, around)
        writer.check_room(written_bytes(spans, around))
        rebuilt = None
        try:
            result = writer.write(spans)
        except (PositionError, ChecksumError) as error:
            if not _may_rebuild(error, options, spans):
                raise
            rebuilt = str(error)
            warn(f"rebuilding {pending.path} with buffered copying: {error}")
            writer.undo()
            result = writer.write([Span(prepared.plan.start, prepared.plan.stop, ("buffered",))])
        _learn(experience, prepared, pending, result)
    for fallback in result.fallbacks:
        _LOG.info("%s: %s gave way at %d: %s", pending.path, fallback.method, fallback.position, fallback.reason)
    return prepared.report(
        str(pending.path),
        started,
        methods=result.methods,
        fallbacks=tuple(result.fallbacks),
        rebuilt=rebuilt,
        verified=options.verify,
    )


def preview_merge(prepared: PreparedMerge, target: str | PathLike[str], options: MergeOptions) -> MergeReport:
    """Return what a merge would report, after looking at its target and the room there is; nothing is written.

    Raises:
        TargetExistsError, IsADirectoryError: as ``merge`` does.
        OSError: the directory is missing or cannot be written; with ENOSPC, there is less room than will be written.
    """
    started = time.perf_counter()
    path = Path(target).absolute()
    check_target(path, overwrite=options.overwrite)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
        around = look_around(prepared.sources, directory, _EXPERIENCE)
        spans = [] if options.compact else choose(prepared.plan, options, around)
        written = prepared.plan.byte_count if options.compact else written_bytes(spans, around)
        check_room(directory, str(path), len(prepared.header) + written + len(prepared.trailer.content))
    finally:
        os.close(directory)
    first = CopyResult()
    for span in spans:
        first.count(span.ladder[0], span.stop - span.start, 0)
    return prepared.report(os.fspath(target), started, methods=first.methods, dry_run=True)


def check_room(descriptor: int, path: str, needed: int) -> None:
    """Raise OSError with ENOSPC where the file system of an open file has less room than for so many bytes."""
    free = free_bytes(descriptor)
    if needed > free:
        problem = f"{os.strerror(errno.ENOSPC)}: {needed} bytes will be written, {free} are free"
        raise OSError(errno.ENOSPC, problem, path)


def _may_rebuild(error: PositionError | ChecksumError, options: MergeOptions, spans: Sequence[Span]) -> bool:
    """Whether buffered copying may succeed: not asked to raise, and something else than buffered copying was used."""
    if options.transfer_to == "on" or all(span.ladder == ("buffered",) for span in spans):
        return False
    # Reading and writing that miscount are no better in another order; only wrong bytes may be another method's.
    return isinstance(error, ChecksumError) or any(set(KERNEL_METHODS) & set(span.ladder) for span in spans)


def _learn(experience: Experience, prepared: PreparedMerge, pending: PendingFile, result: CopyResult) -> None:
    device = os.fstat(pending.descriptor).st_dev
    for fallback in result.fallbacks:
        source = prepared.sources[prepared.plan.source_at(fallback.position)]
        experience.learn(fallback.method, source.identity.device, device, fallback.errno)


class _TargetWriter:
    """One target: written, checked, and if need be undone."""

    def __init__(
        self,
        prepared: PreparedMerge,
        pending: PendingFile,
        options: MergeOptions,
        kernel: Kernel,
        progress: Progress,
    ) -> None:
        self._prepared = prepared
        self._trailer = prepared.trailer
        self._pending = pending
        self._options = options
        self._kernel = kernel
        self._progress = progress
        self._target = Target(pending.descriptor, str(pending.path))
        self._told = 0
        self._lock = threading.Lock()

    def check_room(self, range_bytes: int) -> None:
        """Raise OSError where there is less room than for so many bytes of ranges and what surrounds them."""
        check_room(*self._target, len(self._prepared.header) + range_bytes + len(self._trailer.content))

    def write(self, spans: Sequence[Span]) -> CopyResult:
        """Write header, ranges and trailer, assert the size of what was copied and, if asked to, read all back."""
        plan = self._prepared.plan
        self._write([self._prepared.header], 0)
        result = copy_spans(
            spans,
            plan,
            self._prepared.sources,
            self._target,
            threads=self._options.threads,
            kernel=self._kernel,
            progress=self._tell,
        )
        if (size := self._kernel.size(self._pending.descriptor)) != plan.stop:
            raise PositionError(
                f"after {' and '.join(result.methods) or 'nothing'} of {plan.byte_count} bytes: the target's size",
                path=self._target.path,
                expected=plan.stop,
                actual=size,
                advice=switch_off_advice(self._kernel),
            )
        self._write(self._trailer.content, plan.stop)
        self._prepared.check_unchanged()
        if self._options.verify:
            verify_content(self._target, [self._prepared.header], 0)
            verify_target(self._target, plan, self._prepared.sources, self._kernel, self._trailer.checksums)
            verify_content(self._target, self._trailer.content, plan.stop)
        return result

    def undo(self) -> None:
        """Make the target empty again."""
        os.ftruncate(self._pending.descriptor, 0)
        self._progress(-self._told)
        self._told = 0

    def _write(self, pieces: Iterable[bytes | memoryview], offset: int) -> None:
        """Write pieces behind each other, from an offset on."""
        for piece in pieces:
            write_all(self._kernel, self._target, memoryview(piece), offset)
            offset += len(piece)

    def _tell(self, byte_count: int) -> None:
        with self._lock:
            self._told += byte_count
        self._progress(byte_count)
