"""Reading a partitioned file: its layout, and the rows of its partitions, zero-copy from a memory map."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from os import PathLike
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from .checksum import crc32c
from .errors import ChecksumError, CorruptError
from .framing import read_blocks
from .index import PartitionIndex
from .layout import PartitionLayout
from .schemas import from_storage, original_schema
from .structure import FileStructure, read_structure


class SpillFile:
    """A partitioned file, a spill or a merge's output, open for reading.

    Args:
        path: the file. Its structure is read and checked now; its rows only when asked for.

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
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._structure: FileStructure = read_structure(descriptor, self.path)
            self._map: pa.Buffer | None = pa.py_buffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
        self._stored_schema = self._read_schema()
        self.schema: pa.Schema = original_schema(self._stored_schema)
        """Of the rows; dictionary-encoded columns have their original type."""
        self._message_offsets = self._index.message_offsets
        self._first_messages = self._index.first_messages

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
    def batch_counts(self) -> np.ndarray:
        """Record batches in each partition, ``int64[P]``."""
        return np.diff(self._first_messages)

    def read(self, first: int, last: int | None = None) -> pa.Table:
        """The rows of one partition, or of partitions ``first`` … ``last - 1``, in file order.

        Returns:
            A table over the memory map: nothing is copied, but for compressed bodies and dictionary-encoded columns.

        Raises:
            IndexError: there is no such partition.
            CorruptError: a message cannot be decoded.
        """
        first, last = self._partitions(first, last)
        return pa.Table.from_batches(self._batches(first, last), schema=self.schema)

    def batches(self, first: int, last: int | None = None) -> pa.RecordBatchReader:
        """As ``read``, one record batch after the other."""
        first, last = self._partitions(first, last)
        return pa.RecordBatchReader.from_batches(self.schema, self._batches(first, last))

    def verify(self) -> None:
        """Recompute every range's checksum, and compare the Arrow footer's list of batches with the index.

        Raises:
            ChecksumError: a range's bytes are not those that were written; it names file, partition and range.
            CorruptError: footer and index disagree.
        """
        for partition in range(self.partition_count):
            self.verify_partition(partition)
        blocks = read_blocks(self._structure.footer, self.path)
        expected = self._index.blocks()
        if len(blocks) != len(expected):
            raise CorruptError(
                "record batches in the footer", path=self.path, expected=len(expected), actual=len(blocks)
            )
        different = np.zeros(len(blocks), dtype=bool)
        for name in expected.dtype.names or ():
            different |= blocks[name] != expected[name]
        if different.any():
            batch = int(np.argmax(different))
            raise CorruptError(
                f"the footer and the index disagree on record batch {batch}",
                path=self.path,
                partition=int(np.searchsorted(self._first_messages, batch, side="right")) - 1,
                expected=expected[batch].tolist(),
                actual=blocks[batch].tolist(),
            )

    def verify_partition(self, partition: int) -> None:
        """Recompute one range's checksum.

        Raises:
            ChecksumError: as for ``verify``.
        """
        start, end = (int(offset) for offset in self.layout.offsets[partition : partition + 2])
        assert self.layout.crc32c is not None  # an index always has them
        recorded = int(self.layout.crc32c[partition])
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

    def __enter__(self) -> SpillFile:
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
        last = first + 1 if last is None else last
        if not 0 <= first <= last <= self.partition_count:
            raise IndexError(
                f"{self.path}: partitions {first} to {last - 1} do not exist: there are {self.partition_count}, from 0"
            )
        return first, last

    def _batches(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        for message in range(self._first_messages[first], self._first_messages[last]):
            start, end = (int(offset) for offset in self._message_offsets[message : message + 2])
            try:
                batch = pa.ipc.read_record_batch(self._bytes(start, end), self._stored_schema)
            except (pa.ArrowInvalid, OSError) as error:
                partition = int(np.searchsorted(self._first_messages, message, side="right")) - 1
                raise CorruptError(
                    f"record batch {message} cannot be decoded ({error})",
                    path=self.path,
                    partition=partition,
                    offset=start,
                ) from error
            if self.schema is self._stored_schema:
                yield batch
            else:
                yield from from_storage(batch, self.schema)

    def _read_schema(self) -> pa.Schema:
        try:
            return pa.ipc.read_schema(pa.py_buffer(self._structure.schema_message))
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptError(f"the schema message cannot be decoded ({error})", path=self.path, offset=8) from error
