"""The bytes of a partitioned file: record batches in partition order become ranges, an index and a footer.

``SpillEncoder`` writes to any open file, and neither sorts nor partitions rows. ``writer.py`` adds a name.
"""

from __future__ import annotations

import errno
import io
import operator
import os
from array import array
from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from .checksum import concatenate, crc32c
from .footer import FOOTER_KEY, FOOTER_TAIL_LENGTH, IndexPlace, encode_place
from .index import MAJOR_VERSION, MINOR_VERSION, PartitionIndex
from .layout import PartitionLayout
from .messages import (
    FILE_START,
    SEAL_LENGTH,
    check_alignment,
    encode_header,
    metadata_length_of,
    padding_to,
    seal_metadata,
)
from .partitioner import PartitionerDescription, check_description
from .schemas import check_rows, describe_difference, storage_schema, to_storage
from .serializer import Message, Serializer
from .trailer import TrailerContent

COMPRESSIONS = (None, "lz4", "zstd")
DEFAULT_ALIGNMENT = 64
MAXIMUM_PARTITION_COUNT = 2**31 - 1

# Written at once. Below it, system calls for small messages outweigh copying; above it ext4 allocates page cache in
# pieces so large that the host of a virtual machine has taken them back while they were free: three times as long.
_PENDING_BYTES = 1 << 20
_PENDING_PIECES = 1000  # under IOV_MAX, 1,024


class WritableFile(Protocol):
    """What an encoder writes to: anything with a descriptor."""

    def fileno(self) -> int:
        """The descriptor, borrowed."""


Bytes = bytes | memoryview


def write_pieces(file: WritableFile, pieces: list[Bytes]) -> None:
    """Write all of the pieces at the file's position, at most 1,024 of them.

    Raises:
        OSError: writing failed, or nothing was written.
    """
    while pieces:
        written = os.writev(file.fileno(), pieces)  # less than asked where more than 2 GiB are
        if written == 0:
            raise OSError(errno.EIO, "the file takes no further bytes and gives no error")
        finished = 0
        while finished < len(pieces) and written >= len(pieces[finished]):
            written -= len(pieces[finished])
            finished += 1
        pieces = pieces[finished:]
        if written:
            pieces[0] = memoryview(pieces[0])[written:]


class SpillEncoder:
    """Writes one partitioned file, from its first byte to its last, at the position of an open descriptor.

    Args:
        file: written from offset 0; stays the caller's, who also gives it a name.
        schema, partition_count, compression, alignment, partitioner: as for ``SpillWriter``.
        write: puts pieces behind what the file has, by default ``write_pieces``; it may do so later.

    After an error of ``write`` or ``finish`` the file is not worth keeping, and both refuse to go on.
    """

    def __init__(
        self,
        file: WritableFile,
        schema: pa.Schema,
        partition_count: int,
        compression: str | None = None,
        alignment: int = DEFAULT_ALIGNMENT,
        write: Callable[[list[Bytes]], None] | None = None,
        *,
        partitioner: PartitionerDescription | None = None,
    ) -> None:
        if not isinstance(schema, pa.Schema):
            raise TypeError(f"the schema must be a pyarrow.Schema, not {type(schema).__name__}")
        check_alignment(alignment)
        check_partition_count(partition_count)
        if compression not in COMPRESSIONS:
            raise ValueError(f"compression must be one of {', '.join(map(repr, COMPRESSIONS))}, not {compression!r}")
        check_description(partitioner, int(partition_count))
        self._partitioner = b"" if partitioner is None else partitioner.encode()
        self.schema = schema
        self.partition_count: int = int(partition_count)
        self.alignment: int = int(alignment)
        self._write_pieces = write or partial(write_pieces, file)
        self._stored_schema = storage_schema(schema)
        self._serializer = Serializer(self._stored_schema, compression)
        schema_message, self._footer_template = describe_schema(self._stored_schema)
        header = encode_header(schema_message, self.alignment, self.partition_count)
        self._first_offset = self._position = len(header)
        self._pending: list[Bytes] = [header]
        self._pending_bytes = len(header)
        self._unusable: str | None = None  # why nothing may follow
        self._partition = 0  # of the last call
        self._last: Message | None = None  # its padding is not yet known
        self._last_partition = 0
        self._last_checksum: int | None = None  # of its body, if known
        self._rows = np.zeros(self.partition_count, dtype=np.int64)
        self._partitions = array("q")  # one element a message, like the four arrays below
        self._metadata_lengths = array("i")
        self._body_lengths = array("q")
        self._metadata_checksums = array("I")
        self._body_checksums = array("I")

    def write(self, partition: int, rows: pa.RecordBatch | pa.Table, *, validate: bool = False) -> None:
        """Append rows to a partition; see ``SpillWriter.write``."""
        self._check_usable()
        try:
            partition = self._checked(partition, rows)
            if validate:
                check_rows(rows)
            for batch in rows.to_batches() if isinstance(rows, pa.Table) else (rows,):
                self._write_batch(partition, batch)
        except BaseException as error:
            self._unusable = _reason(error)
            raise

    def write_message(
        self,
        partition: int,
        row_count: int,
        metadata: Bytes,
        body: tuple[Bytes, ...],
        body_checksum: int | None = None,
    ) -> None:
        """Append a record batch of the stored schema that is serialized already: metadata without its seal, and body.

        The caller answers for partitions in non-decreasing order, and for the body's CRC-32C where it gives one. The
        metadata is borrowed until the next call, the body until it is written.
        """
        self._check_usable()
        try:
            self._flush_last(next_partition=partition)
            self._last, self._last_partition = Message(memoryview(metadata), body), partition
            self._last_checksum = body_checksum
            self._rows[partition] += row_count
        except BaseException as error:
            self._unusable = _reason(error)
            raise

    def finish(self) -> PartitionLayout:
        """Write what remains: the last message, end-of-stream marker, index and footer. The file is then complete."""
        self._check_usable()
        try:
            self._flush_last(next_partition=None)
            index = self._index()
            for piece in TrailerContent(index):
                self._append(piece)
            self._write_pending()
        except BaseException as error:
            self._unusable = _reason(error)
            raise
        self._unusable = "the file is finished"
        return index.layout

    @property
    def byte_count(self) -> int:
        """Bytes of the file so far."""
        return self._position

    def _check_usable(self) -> None:
        if self._unusable is not None:
            raise ValueError(self._unusable)

    def _checked(self, partition: int, rows: pa.RecordBatch | pa.Table) -> int:
        partition = operator.index(partition)
        if not isinstance(rows, (pa.RecordBatch, pa.Table)):
            raise TypeError(f"rows come as a pyarrow.RecordBatch or Table, not as {type(rows).__name__}")
        if not 0 <= partition < self.partition_count:
            raise ValueError(f"partition {partition} does not exist: there are {self.partition_count}, from 0")
        if partition < self._partition:
            raise ValueError(
                f"partition {partition} after partition {self._partition}: "
                "partitions are written in non-decreasing order"
            )
        # Comparing whole schemas in Arrow is fast; finding words for a difference, or metadata that may differ, is not.
        if not rows.schema.equals(self.schema, check_metadata=True):
            difference = describe_difference(self.schema, rows.schema)
            if difference is not None:
                raise ValueError(f"the rows have another schema than the writer: {difference}")
        self._partition = partition
        return partition

    def _write_batch(self, partition: int, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        self._flush_last(next_partition=partition)
        if self._stored_schema is not self.schema:
            batch = to_storage(batch, self._stored_schema)
        self._last, self._last_partition = self._serializer.serialize(batch), partition
        self._last_checksum = None
        self._rows[partition] += batch.num_rows

    def _flush_last(self, next_partition: int | None) -> None:
        """Put the held-back message behind the others, padded if it is its partition's last."""
        if self._last is None:
            return
        (metadata, body), partition = self._last, self._last_partition
        body_length, body_checksum = sum(map(len, body)), self._last_checksum
        if body_checksum is None:
            body_checksum = 0
            for piece in body:
                body_checksum = crc32c(piece, body_checksum)
        end = self._position + len(metadata) + SEAL_LENGTH + body_length
        padding = padding_to(8 if partition == next_partition else self.alignment, end)
        sealed = seal_metadata(metadata, partition, body_checksum, padding)
        self._partitions.append(partition)
        self._metadata_lengths.append(len(sealed))
        self._body_lengths.append(body_length)
        self._metadata_checksums.append(crc32c(sealed))
        self._body_checksums.append(body_checksum)
        self._append(sealed)
        for piece in body:
            self._append(piece)
        self._last = None

    def _index(self) -> PartitionIndex:
        metadata_lengths = np.array(self._metadata_lengths, dtype=np.int32)
        body_lengths = np.array(self._body_lengths, dtype=np.int64)
        messages_of = np.bincount(np.array(self._partitions, dtype=np.int64), minlength=self.partition_count)
        ends = np.zeros(len(body_lengths) + 1, dtype=np.int64)
        np.cumsum(metadata_lengths + body_lengths, out=ends[1:])
        offsets = np.zeros(self.partition_count + 1, dtype=np.int64)
        offsets[1:] = ends[np.cumsum(messages_of)]
        part_lengths = np.empty((len(body_lengths), 2), dtype=np.int64)
        part_lengths[:, 0], part_lengths[:, 1] = metadata_lengths, body_lengths
        checksums = np.array([self._metadata_checksums, self._body_checksums], dtype=np.uint32).T.ravel()
        range_checksums = concatenate(checksums, part_lengths.ravel(), 2 * messages_of)
        layout = PartitionLayout(offsets + self._first_offset, self._rows, range_checksums)
        template, partitioner = self._footer_template, self._partitioner
        return PartitionIndex(layout, self.alignment, metadata_lengths, body_lengths, template, partitioner)

    def _append(self, piece: Bytes) -> None:
        if not len(piece):
            return
        self._pending.append(piece)
        self._position += len(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes >= _PENDING_BYTES or len(self._pending) >= _PENDING_PIECES:
            self._write_pending()

    def _write_pending(self) -> None:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        self._write_pieces(pieces)


def describe_schema(stored_schema: pa.Schema) -> tuple[bytes, bytes]:
    """Arrow's message for a schema, and a footer without record batches that has room for the place of the index."""
    room = encode_place(MAJOR_VERSION, MINOR_VERSION, IndexPlace(0, 0, 1))
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, stored_schema, metadata={FOOTER_KEY: room}):
        pass
    file = sink.getvalue()
    schema_message = file[len(FILE_START) : len(FILE_START) + metadata_length_of(file[len(FILE_START) :])]
    tail = len(file) - FOOTER_TAIL_LENGTH
    return schema_message, file[tail - int.from_bytes(file[tail : tail + 4], "little") : tail]


def check_partition_count(partition_count: int) -> None:
    """Raise ValueError unless ``partition_count`` is from 1 to 2**31 − 1, TypeError unless it is an integer."""
    if isinstance(partition_count, bool) or not isinstance(partition_count, (int, np.integer)):
        raise TypeError(f"the number of partitions must be an integer, not {type(partition_count).__name__}")
    if not 1 <= partition_count <= MAXIMUM_PARTITION_COUNT:
        raise ValueError(f"the number of partitions must be from 1 to {MAXIMUM_PARTITION_COUNT}, not {partition_count}")


def _reason(error: BaseException) -> str:
    return f"writing failed before ({type(error).__name__}: {error}): rows are missing"
