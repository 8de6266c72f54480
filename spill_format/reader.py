"""Reading a partitioned file: its layout, and the rows of its partitions, zero-copy from a memory map."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import PathLike
from types import TracebackType
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.ipc

from .checksum import crc32c
from .decoder import Decoder, SelectingDecoder
from .description import UNDECODABLE, DescribedFile
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, TruncatedError
from .index import PartitionIndex
from .layout import Int64Array, UInt32Array
from .messages import metadata_length_of, read_seal, sealed_crc32c
from .slices import PartitionSlice, even_cuts
from .storage.local import LOCAL
from .structure import Outline, read_outline, read_structure_by

_FEW_MESSAGES = 1 << 14  # 192 KiB of index
_WIDE_PARTITIONS = 2048  # a block of the index has as many
_PARTS_KEPT = 4


class SpillFile(DescribedFile):
    """A partitioned file, a spill or a merge's output, open for reading.

    Args:
        path: the file. Its ends, its schema and the outline of its index are read and checked now; partitions with
            what the index says of them when they are asked for.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the structure is damaged.
        NotPartitionedError: an Arrow file without an index section.
        VersionError: written by a newer major version of the format.
        OSError: the file cannot be opened.

    What is read refers to the memory map and keeps it alive, also after ``close``. The file must not be cut short
    meanwhile: the kernel would answer with SIGBUS. Thread-safe.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = LOCAL.open(path)
        self._close_file = weakref.finalize(self, self._file.close)
        try:
            super().__init__(
                read_outline(self._file.read_at, self._file.path, self._file.byte_count), self._file.read_at
            )
            mapped = _mapped_whole(self._file.descriptor, self._outline)
        except BaseException:
            self._close_file()
            raise
        self._map: pa.Buffer | None = pa.py_buffer(mapped)
        self._mapped: mmap.mmap | None = mapped
        self._parts: list[_Part] = []  # that were read last

    def read(self, first: int, last: int | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one partition, or of partitions ``first`` … ``last - 1``, in file order.

        Args:
            first, last: the partitions; their ranges touch, so that several are one contiguous read.
            columns: names of the columns wanted, in the order wanted; None for all. No page is touched, and nothing
                decompressed, of the others.

        Returns:
            A table over the memory map: nothing is copied, but for compressed bodies and dictionary-encoded columns.

        Raises:
            IndexError: there is no such partition.
            ValueError: there is no such column, or several have its name.
            ChecksumError, CorruptError: a message's metadata is damaged, or it cannot be decoded. Damage to values
                is found by ``verify`` alone.
        """
        first, last = self._partitions(first, last)
        decode = self._decoder(columns)
        return pa.Table.from_batches(self._batches(first, last, decode), schema=decode.schema)

    def batches(
        self, first: int, last: int | None = None, *, columns: Sequence[str] | None = None
    ) -> pa.RecordBatchReader:
        """As ``read``, one record batch after the other."""
        first, last = self._partitions(first, last)
        decode = self._decoder(columns)
        return pa.RecordBatchReader.from_batches(decode.schema, self._batches(first, last, decode))

    def slices(self, partition: int, count: int) -> list[PartitionSlice]:
        """Cut a partition that is too large for one worker, along the borders of its record batches.

        Args:
            partition: its number.
            count: how many parts are wanted, 1 or more.

        Returns:
            At most so many parts with about the same bytes each, in file order, none of them empty: fewer where there
            are fewer batches, or one is larger than an even part. Together they are the partition.

        Raises:
            IndexError: there is no such partition.
            ValueError: ``count`` is below 1.
        """
        partition, _ = self._partitions(partition, partition + 1)
        if count < 1:
            raise ValueError(f"a partition is cut into 1 slice or more, not {count}")
        part = self._part(partition, partition + 1)
        start, end = part.messages_of(partition)
        offsets = part.message_offsets[start : end + 1]
        cuts = even_cuts(offsets, count)
        return [
            PartitionSlice(partition, first, last, int(offsets[last] - offsets[first]))
            for first, last in pairwise(cuts)
        ]

    def read_slice(self, part: PartitionSlice, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one of ``slices``; as ``read``.

        Raises:
            IndexError: the file has no such batches.
            ValueError, ChecksumError, CorruptError: as for ``read``.
        """
        partition, _ = self._partitions(part.partition, part.partition + 1)
        index = self._part(partition, partition + 1)
        start, end = index.messages_of(partition)
        if not 0 <= part.first_batch <= part.last_batch <= end - start:
            raise IndexError(
                f"{self.path}: partition {partition} has {end - start} batches: there are no "
                f"batches {part.first_batch} to {part.last_batch - 1}"
            )
        decode = self._decoder(columns)
        messages = range(start + part.first_batch, start + part.last_batch)
        read = [batch for message in messages for batch in self._read_message(index, message, partition, decode)]
        return pa.Table.from_batches(read, schema=decode.schema)

    def will_need(self, first: int, last: int | None = None) -> None:
        """Let the kernel begin to read partitions into the page cache, and do not wait for it.

        Raises:
            IndexError: there is no such partition.
        """
        start, end = self.range_of(first, last)
        if self._mapped is None:
            raise ValueError(f"{self.path}: the file is closed")
        if start < end and hasattr(mmap, "MADV_WILLNEED"):
            start -= start % mmap.PAGESIZE
            self._mapped.madvise(mmap.MADV_WILLNEED, start, end - start)

    def verify(self) -> None:
        """Check every byte of the file: all that describes it, and each range's checksum.

        Raises:
            ChecksumError: a range's bytes are not those that were written; it names file, partition and range.
            CorruptError: what describes the file is damaged where opening it does not look.
        """
        read_structure_by(self._file.read_at, self.path, self.byte_count)
        for partition in range(self.partition_count):
            self.verify_partition(partition)

    def verify_partition(self, partition: int) -> None:
        """Recompute one range's checksum.

        Raises:
            IndexError: there is no such partition.
            ChecksumError: as for ``verify``.
        """
        partition, _ = self._partitions(partition, None)
        start, end = self.layout.offsets[partition : partition + 2].tolist()
        checksums: UInt32Array | None = self.layout.crc32c
        assert checksums is not None  # an index always has them
        recorded = int(checksums[partition])
        computed = crc32c(self._bytes(start, end))
        if computed != recorded:
            raise ChecksumError(
                f"CRC-32C of the range of {end - start} bytes",
                path=self.path,
                partition=partition,
                offset=start,
                expected=f"{recorded:08x}",
                actual=f"{computed:08x}",
                advice=REPAIR_ADVICE,
            )

    def close(self) -> None:
        """Let go of the file. Tables and batches read from it stay valid."""
        self._map = self._mapped = None
        self._close_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _bytes(self, start: int, end: int) -> pa.Buffer:
        if self._map is None:
            raise ValueError(f"{self.path}: the file is closed")
        return self._map.slice(start, end - start)

    def _batches(self, first: int, last: int, decode: Decoder) -> Iterator[pa.RecordBatch]:
        for partition in range(first, last):
            part = self._part(partition, last)
            start, end = part.messages_of(partition)
            rows = 0
            for message in range(start, end):
                for batch in self._read_message(part, message, partition, decode):
                    rows += batch.num_rows
                    yield batch
            layout, place = part.of_these.layout, partition - part.start
            assert layout.rows is not None  # an index always has them
            if rows != layout.rows[place]:
                raise CorruptError(
                    "number of rows of the partition",
                    path=self.path,
                    partition=partition,
                    offset=int(layout.offsets[place]),
                    expected=int(layout.rows[place]),
                    actual=rows,
                    advice=REPAIR_ADVICE,
                )

    def _decoder(self, columns: Sequence[str] | None) -> Decoder:
        if columns is None:
            return Decoder(self._stored_schema, self.schema)
        if self._map is None:
            raise ValueError(f"{self.path}: the file is closed")
        return SelectingDecoder(self._outline, self._stored_schema, self.schema, columns)

    def _part(self, start: int, stop: int) -> _Part:
        """The index of the partitions ``[start, stop)``, and of others where that costs little."""
        if self._map is None:
            raise ValueError(f"{self.path}: the file is closed")
        for part in self._parts:
            if part.start <= start and stop <= part.stop:
                return part
        start, stop = self._widened(start, stop)
        index = self._outline.index.part(self._read, start, stop)
        part = _Part(start, stop, index, index.message_offsets, index.first_messages)
        self._parts = [part, *self._parts[: _PARTS_KEPT - 1]]
        return part

    def _widened(self, start: int, stop: int) -> tuple[int, int]:
        """The partitions whose index is read where that of ``[start, stop)`` is needed: those near them whose messages
        are few, so that reading partition after partition does not begin anew with each."""
        summary = self._outline.index.summary
        count = summary.partition_count
        if max(count, summary.batch_count) <= _FEW_MESSAGES:
            return 0, count
        if summary.batch_count <= count * _FEW_MESSAGES // _WIDE_PARTITIONS:
            return start - start % _WIDE_PARTITIONS, min(stop + -stop % _WIDE_PARTITIONS, count)
        return start, stop

    def _read_message(self, part: _Part, message: int, partition: int, decode: Decoder) -> list[pa.RecordBatch]:
        """The rows of one message, after its frame and seal have been found right."""
        start, end = part.message_offsets[message : message + 2].tolist()
        encapsulated = self._bytes(start, end)
        metadata_length = int(part.of_these.metadata_lengths[message])
        metadata = memoryview(encapsulated)[:metadata_length]
        self._check_metadata(metadata, start, partition)
        try:
            return decode(encapsulated, metadata_length)
        except UNDECODABLE as error:
            problem = f"the record batch cannot be decoded ({error})"
            raise CorruptError(
                problem, path=self.path, partition=partition, offset=start, advice=REPAIR_ADVICE
            ) from error

    def _check_metadata(self, metadata: memoryview, start: int, partition: int) -> None:
        try:
            length = metadata_length_of(metadata)
        except ValueError as error:
            raise CorruptError(
                str(error), path=self.path, partition=partition, offset=start, advice=REPAIR_ADVICE
            ) from error
        if length != len(metadata):
            problem = "length of a record batch's metadata"
            raise CorruptError(
                problem,
                path=self.path,
                partition=partition,
                offset=start,
                expected=len(metadata),
                actual=length,
                advice=REPAIR_ADVICE,
            )
        seal = read_seal(metadata)
        if seal is None:
            raise CorruptError(
                "the record batch has no seal", path=self.path, partition=partition, offset=start, advice=REPAIR_ADVICE
            )
        if (computed := sealed_crc32c(metadata)) != seal.metadata_crc32c:
            raise ChecksumError(
                "CRC-32C of a record batch's metadata",
                path=self.path,
                partition=partition,
                offset=start,
                expected=f"{seal.metadata_crc32c:08x}",
                actual=f"{computed:08x}",
                advice=REPAIR_ADVICE,
            )
        if seal.partition != partition:
            raise CorruptError(
                "the record batch was written for another partition",
                path=self.path,
                partition=partition,
                offset=start,
                expected=partition,
                actual=seal.partition,
                advice=REPAIR_ADVICE,
            )


def _mapped_whole(descriptor: int, outline: Outline) -> mmap.mmap:
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    if len(mapped) < outline.byte_count:
        raise TruncatedError(
            "the file was cut short while it was opened",
            path=outline.path,
            expected=f"{outline.byte_count} bytes",
            actual=len(mapped),
            advice="open it when nobody writes to it",
        )
    return mapped


class _Part(NamedTuple):
    """The index ``of_these``, the partitions ``[start, stop)``, and where their messages are, counted from 0 here."""

    start: int
    stop: int
    of_these: PartitionIndex
    message_offsets: Int64Array
    first_messages: Int64Array

    def messages_of(self, partition: int) -> tuple[int, int]:
        """The messages ``[first, last)`` of a partition."""
        first, last = self.first_messages[partition - self.start : partition - self.start + 2].tolist()
        return first, last
