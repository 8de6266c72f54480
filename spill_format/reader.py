"""Reading a partitioned file: its layout, and the rows of its partitions, zero-copy from a memory map."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import PathLike
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.ipc

from .checksum import crc32c
from .description import UNDECODABLE, DescribedFile, selected_fields
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, TruncatedError
from .framing import metadata_length_of, read_seal, sealed_crc32c
from .layout import UInt32Array
from .schemas import from_storage
from .slices import PartitionSlice, even_cuts
from .structure import read_structure


class SpillFile(DescribedFile):
    """A partitioned file, a spill or a merge's output, open for reading.

    Args:
        path: the file. All but its ranges is read and checked now; the ranges' bytes only when asked for.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the structure is damaged.
        NotPartitionedError: an Arrow file without an index section.
        VersionError: written by a newer major version of the format.
        OSError: the file cannot be opened.

    What is read refers to the memory map and keeps it alive, also after ``close``. The file must not be cut short
    meanwhile: the kernel would answer with SIGBUS. Thread-safe.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        # Without blocking, since opening a pipe would wait for its writer instead of being refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            structure = read_structure(descriptor, path)
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        if len(mapped) < structure.byte_count:
            raise TruncatedError(
                "the file was cut short while it was opened",
                path=structure.path,
                expected=f"{structure.byte_count} bytes",
                actual=len(mapped),
                advice="open it when nobody writes to it",
            )
        super().__init__(structure)
        self._map: pa.Buffer | None = pa.py_buffer(mapped)
        self._mapped: mmap.mmap | None = mapped
        self._message_offsets = structure.index.message_offsets
        self._first_messages = structure.index.first_messages

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
        start, end = self._first_messages[partition : partition + 2].tolist()
        offsets = self._message_offsets[start : end + 1]
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
        start, end = self._first_messages[partition : partition + 2].tolist()
        if not 0 <= part.first_batch <= part.last_batch <= end - start:
            raise IndexError(
                f"{self.path}: partition {partition} has {end - start} batches: there are no "
                f"batches {part.first_batch} to {part.last_batch - 1}"
            )
        decode = self._decoder(columns)
        messages = range(start + part.first_batch, start + part.last_batch)
        read = [batch for message in messages for batch in self._read_message(message, partition, decode)]
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
        """Recompute every range's checksum; all other bytes of the file were checked when it was opened.

        Raises:
            ChecksumError: a range's bytes are not those that were written; it names file, partition and range.
        """
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

    def _batches(self, first: int, last: int, decode: _Decoder) -> Iterator[pa.RecordBatch]:
        for partition in range(first, last):
            start, end = self._first_messages[partition : partition + 2].tolist()
            rows = 0
            for message in range(start, end):
                for batch in self._read_message(message, partition, decode):
                    rows += batch.num_rows
                    yield batch
            assert self.layout.rows is not None  # an index always has them
            if rows != self.layout.rows[partition]:
                raise CorruptError(
                    "number of rows of the partition",
                    path=self.path,
                    partition=partition,
                    offset=int(self.layout.offsets[partition]),
                    expected=int(self.layout.rows[partition]),
                    actual=rows,
                    advice=REPAIR_ADVICE,
                )

    def _decoder(self, columns: Sequence[str] | None) -> _Decoder:
        if columns is None:
            return _Decoder(self._stored_schema, self.schema)
        if self._map is None:
            raise ValueError(f"{self.path}: the file is closed")
        return _SelectingDecoder(self._stored_schema, self.schema, columns, self._map)

    def _read_message(self, message: int, partition: int, decode: _Decoder) -> list[pa.RecordBatch]:
        """The rows of one message, after its frame and seal have been found right."""
        start, end = self._message_offsets[message : message + 2].tolist()
        encapsulated = self._bytes(start, end)
        metadata = memoryview(encapsulated)[: int(self._structure.index.metadata_lengths[message])]
        self._check_metadata(metadata, start, partition)
        try:
            return decode(message, encapsulated)
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


class _Decoder:
    """Makes rows of messages, all columns of them."""

    def __init__(self, stored_schema: pa.Schema, schema: pa.Schema) -> None:
        self._stored_schema = stored_schema
        self.schema = schema

    def __call__(self, message: int, encapsulated: pa.Buffer) -> list[pa.RecordBatch]:
        batch = self._stored_batch(message, encapsulated)
        batch.validate()
        return [batch] if self.schema is self._stored_schema else from_storage(batch, self.schema)

    def _stored_batch(self, _message: int, encapsulated: pa.Buffer) -> pa.RecordBatch:
        return pa.ipc.read_record_batch(encapsulated, self._stored_schema)


class _SelectingDecoder(_Decoder):
    """Makes rows with some of the columns; the buffers of the others are never looked at.

    Only Arrow's readers of whole files and streams can leave columns out, so the map is read as the Arrow file it is.
    """

    def __init__(self, stored_schema: pa.Schema, schema: pa.Schema, columns: Sequence[str], mapped: pa.Buffer) -> None:
        positions = selected_fields(schema, columns)
        stored = pa.schema([stored_schema.field(position) for position in positions], stored_schema.metadata)
        selected = pa.schema([schema.field(position) for position in positions], schema.metadata)
        super().__init__(stored, stored if schema is stored_schema else selected)
        options = pa.ipc.IpcReadOptions(included_fields=positions)
        self._file = pa.ipc.open_file(mapped, options=options)
        # Arrow gives them in the file's order, whatever the order asked for.
        self._order = [sorted(positions).index(position) for position in positions]

    def _stored_batch(self, message: int, _encapsulated: pa.Buffer) -> pa.RecordBatch:
        batch = self._file.get_batch(message)
        columns = [batch.column(position) for position in self._order]
        return pa.RecordBatch.from_arrays(columns, schema=self._stored_schema)
