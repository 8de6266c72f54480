"""Reading a partitioned file: its layout, and the rows of its partitions, zero-copy from a memory map."""

from __future__ import annotations

import mmap
import operator
import os
from collections.abc import Iterator
from os import PathLike
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from .checksum import crc32c
from .errors import ChecksumError, CorruptError, TruncatedError
from .framing import metadata_length_of, read_seal, sealed_crc32c
from .index import PartitionIndex
from .layout import Int64Array, PartitionLayout, UInt32Array
from .schemas import from_storage, original_schema
from .structure import FileStructure, read_structure

# What Arrow raises when it is given bytes that it cannot decode: its own errors, OSError from decompression, ValueError
# from names that are not UTF-8, MemoryError for a decompressed length that is absurd.
_UNDECODABLE = (pa.ArrowException, OSError, ValueError, MemoryError)


class SpillFile:
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
        self.path = os.fspath(path)
        # Without blocking, since opening a pipe would wait for its writer instead of being refused below.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._structure: FileStructure = read_structure(descriptor, self.path)
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        if len(mapped) < self._structure.byte_count:
            raise TruncatedError(
                "the file was cut while it was opened",
                path=self.path,
                expected=f"{self._structure.byte_count} bytes",
                actual=len(mapped),
            )
        self._map: pa.Buffer | None = pa.py_buffer(mapped)
        self._stored_schema, self._schema = self._read_schemas()
        self._message_offsets = self._index.message_offsets
        self._first_messages = self._index.first_messages

    @property
    def schema(self) -> pa.Schema:
        """Of the rows; dictionary-encoded columns have their original type."""
        return self._schema

    @property
    def layout(self) -> PartitionLayout:
        """Offsets, rows and checksums of the partitions."""
        return self._index.layout

    @property
    def partition_count(self) -> int:
        """P."""
        return self.layout.partition_count

    @property
    def alignment(self) -> int:
        """Bytes; every range starts at a multiple of it."""
        return self._index.alignment

    @property
    def byte_count(self) -> int:
        """Size of the file."""
        return self._structure.byte_count

    @property
    def batch_counts(self) -> Int64Array:
        """Record batches in each partition, ``int64[P]``."""
        return np.diff(self._first_messages)

    def read(self, first: int, last: int | None = None) -> pa.Table:
        """The rows of one partition, or of partitions ``first`` … ``last - 1``, in file order.

        Returns:
            A table over the memory map: nothing is copied, but for compressed bodies and dictionary-encoded columns.

        Raises:
            IndexError: there is no such partition.
            ChecksumError, CorruptError: a message's metadata is damaged, or it cannot be decoded. Damage to values
                is found by ``verify`` alone.
        """
        first, last = self._partitions(first, last)
        return pa.Table.from_batches(self._batches(first, last), schema=self.schema)

    def batches(self, first: int, last: int | None = None) -> pa.RecordBatchReader:
        """As ``read``, one record batch after the other."""
        first, last = self._partitions(first, last)
        return pa.RecordBatchReader.from_batches(self.schema, self._batches(first, last))

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
            )

    def close(self) -> None:
        """Let go of the file. Tables and batches read from it stay valid."""
        self._map = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _index(self) -> PartitionIndex:
        return self._structure.index

    def _bytes(self, start: int, end: int) -> pa.Buffer:
        if self._map is None:
            raise ValueError(f"{self.path}: the file is closed")
        return self._map.slice(start, end - start)

    def _partitions(self, first: int, last: int | None) -> tuple[int, int]:
        first = operator.index(first)
        last = first + 1 if last is None else operator.index(last)
        if not 0 <= first <= last <= self.partition_count:
            asked = f"partition {first} does" if last == first + 1 else f"partitions {first} to {last - 1} do"
            raise IndexError(f"{self.path}: {asked} not exist: there are {self.partition_count}, from 0")
        return first, last

    def _batches(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        for partition in range(first, last):
            start, end = self._first_messages[partition : partition + 2].tolist()
            rows = 0
            for message in range(start, end):
                for batch in self._read_message(message, partition):
                    rows += batch.num_rows
                    yield batch
            assert self.layout.rows is not None  # an index always has them
            if rows != self.layout.rows[partition]:
                raise CorruptError(
                    "rows of the partition",
                    path=self.path,
                    partition=partition,
                    offset=int(self.layout.offsets[partition]),
                    expected=int(self.layout.rows[partition]),
                    actual=rows,
                )

    def _read_message(self, message: int, partition: int) -> list[pa.RecordBatch]:
        """The rows of one message, after its frame and seal have been found right."""
        start, end = self._message_offsets[message : message + 2].tolist()
        encapsulated = self._bytes(start, end)
        metadata = memoryview(encapsulated)[: int(self._index.metadata_lengths[message])]
        self._check_metadata(metadata, start, partition)
        try:
            batch = pa.ipc.read_record_batch(encapsulated, self._stored_schema)
            batch.validate()
            return [batch] if self.schema is self._stored_schema else from_storage(batch, self.schema)
        except _UNDECODABLE as error:
            problem = f"the record batch cannot be decoded ({error})"
            raise CorruptError(problem, path=self.path, partition=partition, offset=start) from error

    def _check_metadata(self, metadata: memoryview, start: int, partition: int) -> None:
        try:
            length = metadata_length_of(metadata)
        except ValueError as error:
            raise CorruptError(str(error), path=self.path, partition=partition, offset=start) from error
        if length != len(metadata):
            problem = "length of a record batch's metadata"
            raise CorruptError(
                problem, path=self.path, partition=partition, offset=start, expected=len(metadata), actual=length
            )
        seal = read_seal(metadata)
        if seal is None:
            raise CorruptError("the record batch has no seal", path=self.path, partition=partition, offset=start)
        if (computed := sealed_crc32c(metadata)) != seal.metadata_crc32c:
            raise ChecksumError(
                "CRC-32C of a record batch's metadata",
                path=self.path,
                partition=partition,
                offset=start,
                expected=f"{seal.metadata_crc32c:08x}",
                actual=f"{computed:08x}",
            )
        if seal.partition != partition:
            raise CorruptError(
                "the record batch was written for another partition",
                path=self.path,
                partition=partition,
                offset=start,
                expected=partition,
                actual=seal.partition,
            )

    def _read_schemas(self) -> tuple[pa.Schema, pa.Schema]:
        """The schema that is stored, and that of the rows: the same object where they are the same."""
        try:
            stored = pa.ipc.read_schema(pa.py_buffer(self._structure.schema_message))
            return stored, original_schema(stored)
        except _UNDECODABLE as error:
            raise CorruptError(f"the schema message cannot be decoded ({error})", path=self.path, offset=8) from error
