"""A compacting merge: what a plain merge would copy is decoded, and encoded again in fewer, larger record batches.

The caller's thread reads and writes, others decode and encode. Where batches end is decided by ``rebatching.py``, what
the target holds besides them by ``SpillEncoder``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from shuffle.arrays.sortable import from_sortable
from shuffle.machine.kernel import Kernel, SystemKernel
from shuffle.machine.prefetch import Task, in_order
from shuffle.merging.arrow_target import target_alignment, target_partitioner
from shuffle.merging.copy.job import CopyJob, Target, ignore_progress
from shuffle.merging.decoding import RangeDecoder
from shuffle.merging.rebatching import BATCH_BYTES, Group, Portion, rebatched
from shuffle.merging.sources import SourceDescriptors, descriptor_limit
from shuffle.merging.target_writer import PreparedMerge, Progress, check_room
from shuffle.merging.verification import verify_written
from shuffle.options import COMPACTION_MEMORY_BYTES, MergeOptions
from shuffle.report import Compaction, MergeReport
from spill_format.encoder import SpillEncoder
from spill_format.layout import PartitionLayout
from spill_format.partitioner import read_partitioner
from spill_format.serializer import Serializer
from spill_format.storage.publication import PendingFile

_LARGEST_UNIT_BYTES = 2 << 20  # read and decoded at once: a system call a source; more leaves the cache
_UNITS_IN_BUDGET = 64
_UNRELEASED_PART = 8  # of the budget: after so many bytes malloc has to give back what it keeps for each thread
_DECODED_UNITS = 4  # rows that were compressed may become so much larger before the rest of their unit has to wait


def write_compacted(
    prepared: PreparedMerge,
    pending: PendingFile,
    options: MergeOptions,
    *,
    progress: Progress = ignore_progress,
    kernel: Kernel | None = None,
    started: float | None = None,
) -> MergeReport:
    """Write a merge's whole output into ``pending``, its record batches joined.

    Alignment is that of a plain merge; compression that of the first record batch, for all of them.

    Raises:
        ChecksumError, CorruptError: a source's range is damaged; it names source, partition and offset.
        OSError: reading or writing failed; with ENOSPC, before anything is written, where there is less room than a
            plain merge would need.
    """
    started = time.perf_counter() if started is None else started
    plan = prepared.plan
    target = Target(pending.descriptor, str(pending.path))
    check_room(*target, plan.stop + len(prepared.trailer.content))
    with SourceDescriptors(prepared.sources, descriptor_limit(1)) as descriptors:
        job = CopyJob(kernel or SystemKernel(), plan, descriptors, target, progress)
        compactor = _Compactor(prepared, job, options)
        try:
            layout = compactor.write(pending)
        except OSError as error:
            if error.filename is None:  # of a system call that knows only a descriptor
                raise OSError(error.errno, error.strerror, target.path) from error
            raise
    prepared.check_unchanged()
    if options.verify:
        verify_written(pending, layout)
    return prepared.report(
        target.path,
        started,
        row_count=layout.row_count,
        target_bytes=os.fstat(pending.descriptor).st_size,
        compaction=Compaction(compactor.read_count, compactor.written_count, plan.byte_count, layout.byte_count),
        verified=options.verify,
    )


class _Encoded(NamedTuple):
    """What ``SpillEncoder.write_message`` takes."""

    partition: int
    row_count: int
    metadata: memoryview
    body: tuple[bytes | memoryview, ...]


class _Decoded(NamedTuple):
    """The first portions of a unit, and the rest, to be decoded when these are done with."""

    some: list[Portion]
    rest: Iterator[Portion]


class _Compactor:
    """Decodes and encodes, within a budget of memory. What threads do changes nothing here."""

    def __init__(self, prepared: PreparedMerge, job: CopyJob, options: MergeOptions) -> None:
        self._memory_bytes = options.memory_bytes or COMPACTION_MEMORY_BYTES
        unit_bytes = min(self._memory_bytes // _UNITS_IN_BUDGET, _LARGEST_UNIT_BYTES)
        self._threads = options.threads
        self._decoded_bytes = _DECODED_UNITS * unit_bytes
        self._bundle_bytes = min(unit_bytes, BATCH_BYTES)
        self._decoder = RangeDecoder(list(prepared.sources), job, unit_bytes)
        self._stored_schema: pa.Schema = self._decoder.stored_schema
        structures = [source.structure for source in prepared.sources if source.structure]
        self._alignment = target_alignment(structures)
        self._partitioner = read_partitioner(target_partitioner(structures), structures[0].path)
        self._compression: str | None = None
        self.read_count = self._decoder.message_count
        self.written_count = 0

    def write(self, file: PendingFile) -> PartitionLayout:
        """Write the whole target; its layout."""
        self._compression = self._decoder.first_codec()
        partition_count = self._decoder.layout.partition_count
        encoder = SpillEncoder(
            file,
            self._stored_schema,
            partition_count,
            self._compression,
            self._alignment,
            partitioner=self._partitioner,
        )
        with closing(self._decoded()) as decoded, closing(self._encoded(rebatched(_in_turn(decoded)))) as encoded:
            for messages in encoded:
                for message in messages:
                    encoder.write_message(*message)
                self.written_count += len(messages)
        layout = encoder.finish()
        self._decoder.check_row_counts(layout)
        return layout

    def _decoded(self) -> Generator[_Decoded, None, None]:
        tasks = (
            Task(len(unit.content) + 2 * self._decoded_bytes, partial(self._decode, self._decoder.portions(unit)))
            for unit in self._decoder.units()
        )
        return in_order(tasks, self._memory_bytes // 3, self._threads)

    def _decode(self, portions: Iterator[Portion]) -> _Decoded:
        some, byte_count = [], 0
        for portion in portions:
            some.append(portion)
            byte_count += portion.rows.nbytes
            if byte_count > self._decoded_bytes:
                break
        return _Decoded(some, portions)

    def _encoded(self, groups: Iterable[Group]) -> Generator[list[_Encoded], None, None]:
        tasks = (Task(3 * byte_count, partial(self._encode, bundle)) for bundle, byte_count in self._bundled(groups))
        return in_order(tasks, self._memory_bytes // 6, self._threads)

    def _bundled(self, groups: Iterable[Group]) -> Iterator[tuple[list[Group], int]]:
        """Small groups together, to be worth a task, and their bytes."""
        bundle, byte_count = list[Group](), 0
        unreleased_bytes = 0
        for group in groups:
            bundle.append(group)
            byte_count += group.byte_count
            if byte_count >= self._bundle_bytes:
                yield bundle, byte_count
                unreleased_bytes += byte_count
                bundle, byte_count = [], 0
            if unreleased_bytes >= self._memory_bytes // _UNRELEASED_PART:
                pa.system_memory_pool().release_unused()
                unreleased_bytes = 0
        if bundle:
            yield bundle, byte_count

    def _encode(self, groups: Iterable[Group]) -> list[_Encoded]:
        serializer = Serializer(self._stored_schema, self._compression)
        encoded = []
        for group in groups:
            rows = from_sortable(group.joined(), self._stored_schema)
            metadata, pieces = serializer.serialize(rows)
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            encoded.append(_Encoded(group.partition, rows.num_rows, metadata, (body,)))
        return encoded


def _in_turn(decoded: Iterable[_Decoded]) -> Iterator[Portion]:
    for some, rest in decoded:
        yield from some
        yield from rest
