"""The record batches that a plain merge would copy, in its order: read some at a time, checked, and decoded.

How its bytes come together is the business of ``copy/gather.py``; what becomes of the rows is decided by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from shuffle.arrays.sortable import sortable_schema, to_sortable
from shuffle.merging.arrow_target import target_index
from shuffle.merging.copy.gather import assembled_windows
from shuffle.merging.copy.job import CopyJob
from shuffle.merging.rebatching import Portion
from shuffle.merging.sources import Source
from spill_format.checksum import crc32c
from spill_format.description import read_schemas
from spill_format.errors import CorruptError, SpillError
from spill_format.layout import PartitionLayout
from spill_format.messages import END_OF_STREAM, MESSAGE_SEAL_MAGIC, SEAL_LENGTH, find_defect, read_codec
from spill_format.reader import SpillFile
from spill_format.structure import FileStructure
from spill_format.undecodable import UNDECODABLE, decoding

_SEAL_WORD = int.from_bytes(MESSAGE_SEAL_MAGIC, "little")
_LOOKED_AT = 4  # messages of a partition in a unit, for whether they are compressed

# Arrow's usual pool keeps much of what one thread allocated and another one freed.
_POOL = pa.system_memory_pool()


class Unit(NamedTuple):
    """Messages ``[start, stop)`` of a plain merge, and their bytes, which start at its ``position``."""

    start: int
    stop: int
    position: int
    content: memoryview


class RangeDecoder:
    """Reads and decodes what a plain merge would copy. Messages are numbered in its order.

    Args:
        sources: Arrow files.
        job: reads them, in the thread that asks for units. All else may be asked for by any thread.
        unit_bytes: what is read at once, and decoded at once, unless a single message is larger.

    Raises:
        CorruptError: the schema cannot be decoded.
    """

    def __init__(self, sources: list[Source], job: CopyJob, unit_bytes: int) -> None:
        structures = [source.structure for source in sources if source.structure is not None]
        self._sources = sources
        self._job = job
        self._unit_bytes = unit_bytes
        self._schema_message = structures[0].schema_message
        self.stored_schema: pa.Schema = _schema_of(structures[0])
        self._sortable_schema = sortable_schema(self.stored_schema)
        index = target_index(structures, job.plan)
        self.layout: PartitionLayout = index.layout
        """Of a plain merge."""
        self.message_count: int = len(index.metadata_lengths)
        self._metadata_lengths = index.metadata_lengths
        self._offsets = index.message_offsets
        self._first_messages = index.first_messages

    def units(self) -> Iterator[Unit]:
        """All messages, each unit read when it is asked for.

        Raises:
            TruncatedError, OSError: a source cannot be read.
        """
        start = 0
        while start < self.message_count:
            enough = int(self._offsets[start]) + self._unit_bytes
            stop = max(int(np.searchsorted(self._offsets, enough, side="right")) - 1, start + 1)
            unit = self._read(start, stop)
            self._job.tell(len(unit.content))
            yield unit
            start = stop

    def portions(self, unit: Unit) -> Iterator[Portion]:
        """The rows of a unit, by partition; of one that was compressed, perhaps in several portions.

        Raises:
            ChecksumError: bytes are not those that were written.
            CorruptError: they are, and yet no record batches of this schema.
        """
        for partition, start, stop in self._parts(unit):
            self._check(unit, partition, start, stop)
            content = self._bytes(unit, start, stop)
            stream = pa.py_buffer(b"".join((self._schema_message, content, END_OF_STREAM)))
            if self._seems_compressed(unit, start, stop):
                yield from self._one_by_one(stream, partition, start, stop)
                continue
            try:
                with pa.ipc.open_stream(stream) as reader:
                    rows = reader.read_all()  # a single call, which leaves the interpreter's lock to other threads
                rows.validate()
            except UNDECODABLE:
                yield from self._one_by_one(stream, partition, start, stop)  # which knows the message at fault
                continue
            portion = self._portion(partition, rows)
            del rows, stream, content
            if portion is not None:
                yield portion
                del portion

    def check_row_counts(self, decoded: PartitionLayout) -> None:
        """Raise CorruptError unless each partition has as many rows as the sources' indexes say."""
        assert self.layout.rows is not None  # an index always has them
        different = self.layout.rows != decoded.rows
        if different.any():
            raise self._damage(int(np.argmax(different)))

    def first_codec(self) -> str | None:
        """How the first record batch of all is compressed; None also where there is none.

        Raises:
            SpillError, OSError: as for ``units`` and ``portions``.
        """
        if not self.message_count:
            return None
        unit = self._read(0, 1)
        for partition, start, stop in self._parts(unit):
            self._check(unit, partition, start, stop)
        return self._codec(unit, 0)

    def _read(self, start: int, stop: int) -> Unit:
        position, stop_position = int(self._offsets[start]), int(self._offsets[stop])
        content = memoryview(bytearray(stop_position - position))
        for window in assembled_windows(self._job, position, stop_position):
            place = window.position - position
            # What Arrow has permuted are signed bytes.
            content[place : place + len(window.content)] = window.content.cast("B")
        return Unit(start, stop, position, content)

    def _parts(self, unit: Unit) -> Iterator[tuple[int, int, int]]:
        """The partitions that messages of a unit belong to, and which messages do: ``[start, stop)``."""
        message = unit.start
        while message < unit.stop:
            partition = self._partition_of(message)
            stop = min(int(self._first_messages[partition + 1]), unit.stop)
            yield partition, message, stop
            message = stop

    def _partition_of(self, message: int) -> int:
        return int(np.searchsorted(self._first_messages, message, side="right")) - 1

    def _bytes(self, unit: Unit, start: int, stop: int) -> memoryview:
        return unit.content[int(self._offsets[start]) - unit.position : int(self._offsets[stop]) - unit.position]

    def _seems_compressed(self, unit: Unit, start: int, stop: int) -> bool:
        """Whether one of a few messages is: to look at all would take long, and what is between them is little."""
        step = -(-(stop - start) // _LOOKED_AT)
        return any(self._codec(unit, message) is not None for message in range(start, stop, step))

    def _codec(self, unit: Unit, message: int) -> str | None:
        metadata = self._bytes(unit, message, message + 1)[: int(self._metadata_lengths[message])]
        try:
            return read_codec(metadata)
        except ValueError as error:
            raise self._corrupt(f"the record batch cannot be decoded ({error})", message) from error

    def _one_by_one(self, stream: pa.Buffer, partition: int, start: int, stop: int) -> Iterator[Portion]:
        """The rows of messages, so that they need not all be decompressed at the same time."""
        # Counted here: batches would outlive a pool of their own, where an error keeps them, and crash when they go.
        batches, decoded_bytes = list[pa.RecordBatch](), 0
        # Messages are decoded by as many threads as were asked for, and none of them needs another one.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.ipc.open_stream(stream, options=options, memory_pool=_POOL) as reader:
            for message in range(start, stop):
                path, offset = self._place_of(message)
                with decoding("the record batch", path, offset, partition, stream.size):
                    batches.append(_next_batch(reader))
                    batches[-1].validate()
                decoded_bytes += batches[-1].get_total_buffer_size()
                if message == stop - 1 or decoded_bytes > self._unit_bytes:
                    portion = self._portion(partition, pa.Table.from_batches(batches))
                    batches, decoded_bytes = [], 0  # before somebody takes the time to use the portion
                    if portion is not None:
                        yield portion
                        del portion

    def _portion(self, partition: int, rows: pa.Table) -> Portion | None:
        """None of no rows."""
        if not rows.num_rows:
            return None
        if self._sortable_schema is not self.stored_schema:
            sortable = [to_sortable(batch, self._sortable_schema) for batch in rows.to_batches()]
            rows = pa.Table.from_batches(sortable, self._sortable_schema)
        return Portion.of(partition, rows)

    def _check(self, unit: Unit, partition: int, start: int, stop: int) -> None:
        """Check that the bytes of some messages of a partition are those that were written, and written for it: all of
        its range at once, or each by its seal (FORMAT.md section 4.2)."""
        recorded = self.layout.crc32c
        assert recorded is not None  # an index always has them
        is_whole = self._first_messages[partition] == start and self._first_messages[partition + 1] == stop
        if is_whole and crc32c(self._bytes(unit, start, stop)) == recorded[partition]:
            words = np.frombuffer(unit.content, dtype="<u4")
            ends = self._offsets[start:stop] - unit.position + self._metadata_lengths[start:stop]
            seals = (ends - SEAL_LENGTH) // 4
            if (words[seals] == _SEAL_WORD).all() and (words[seals + 1] == partition).all():
                return
        for message in range(start, stop):
            content = self._bytes(unit, message, message + 1)
            if (defect := find_defect(content, int(self._metadata_lengths[message]), partition)) is not None:
                path, offset = self._place_of(message)
                raise defect.error(path, partition, offset)
        if is_whole:
            raise self._damage(partition)

    def _corrupt(self, problem: str, message: int, expected: object = None, actual: object = None) -> CorruptError:
        path, offset = self._place_of(message)
        partition = self._partition_of(message)
        return CorruptError(problem, path=path, partition=partition, offset=offset, expected=expected, actual=actual)

    def _place_of(self, message: int) -> tuple[str, int]:
        """A message's source, and its offset there."""
        plan, position = self._job.plan, int(self._offsets[message])
        segment = int(np.searchsorted(plan.positions, position, side="right")) - 1
        offset = int(plan.source_offsets[segment]) + position - int(plan.positions[segment])
        return self._sources[int(plan.sources[segment])].path, offset

    def _damage(self, partition: int) -> SpillError:
        """The error of a partition that is not what its sources' indexes say, though each message seems sound."""
        for source in self._sources:
            try:
                with SpillFile(source.path) as file:
                    file.verify_partition(partition)
                    file.read(partition)
            except SpillError as error:
                return error
        problem = "the sources' ranges changed while they were merged"
        return SpillError(
            problem, path=self._sources[0].path, partition=partition, advice="merge again when nobody writes to them"
        )


def _next_batch(reader: pa.RecordBatchReader) -> pa.RecordBatch:
    try:
        return reader.read_next_batch()
    except StopIteration as error:
        raise ValueError("the stream ends before it") from error


def _schema_of(structure: FileStructure) -> pa.Schema:
    stored, _ = read_schemas(structure.schema_message, structure.path)
    return stored
