"""Whether a range is what was written: each message sound and decodable, its values valid, and the range's checksum.

Bytes are read, never mapped: a disk that fails under a memory map kills the process, here it is an error.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from .arrow_threads import read_message
from .checksum import crc32c
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError
from .index import IndexPart
from .messages import find_defect, read_batch_size
from .storage.windows import ReadAt
from .undecodable import decoding


class RangeChecker:
    """Checks ranges of one file. Thread-safe, if ``read`` is.

    Args:
        read: gives the file's bytes.
        path: of the file, for errors.
        stored_schema: of its record batches.
        progress: told how many further bytes were read.
    """

    def __init__(
        self, read: ReadAt, path: str, stored_schema: pa.Schema, progress: Callable[[int], None] = lambda _count: None
    ) -> None:
        self._read = read
        self._path = path
        self._schema = stored_schema
        self._progress = progress

    def check(self, part: IndexPart, partition: int) -> None:
        """Check the range of a partition, which must be of ``part``.

        Raises:
            ChecksumError: its bytes are not those that were written.
            CorruptError: they are, and yet no valid record batches of this schema, or of another number of rows.
            OSError: it cannot be read.
            MemoryError: a message does not fit into memory.
        """
        layout, place = part.of_these.layout, partition - part.start
        assert layout.rows is not None  # an index always has both
        assert layout.crc32c is not None
        checksum, row_count = 0, 0
        for message in range(*part.messages_of(partition)):
            start, stop = part.message_offsets[message : message + 2].tolist()
            content = self._read(start, stop - start)
            self._progress(len(content))
            checksum = crc32c(content, checksum)
            row_count += self._rows_of(content, int(part.of_these.metadata_lengths[message]), partition, start)
        start, stop = layout.offsets[place : place + 2].tolist()
        if checksum != layout.crc32c[place]:
            raise ChecksumError(
                f"CRC-32C of the range of {stop - start} bytes",
                path=self._path,
                partition=partition,
                offset=start,
                expected=f"{layout.crc32c[place]:08x}",
                actual=f"{checksum:08x}",
                advice=REPAIR_ADVICE,
            )
        if row_count != layout.rows[place]:
            raise CorruptError(
                "number of rows of the partition",
                path=self._path,
                partition=partition,
                offset=start,
                expected=int(layout.rows[place]),
                actual=row_count,
                advice=REPAIR_ADVICE,
            )

    def _rows_of(self, content: bytes, metadata_length: int, partition: int, offset: int) -> int:
        """Rows of a message, after all of it has been found right."""
        if (defect := find_defect(content, metadata_length, partition)) is not None:
            raise defect.error(self._path, partition, offset)
        with decoding("the record batch", self._path, offset, partition, len(content)):
            return check_decodable(content, metadata_length, self._schema)


def check_decodable(content: bytes, metadata_length: int, stored_schema: pa.Schema) -> int:
    """Rows of a sound message, after Arrow has decoded it and found each value valid.

    Raises:
        MemoryError, or an error of ``UNDECODABLE``: Arrow cannot, or has not.
    """
    batch = read_message(pa.py_buffer(content), stored_schema)
    batch.validate(full=True)
    # Arrow does not mind more columns than the schema has, as in messages of a file inside a value.
    if read_batch_size(content[:metadata_length]).node_count != _node_count(stored_schema):
        raise ValueError("it has other columns than the schema")
    return int(batch.num_rows)


def _node_count(schema: pa.Schema) -> int:
    """How many arrays the columns of a schema are, nested ones and themselves."""
    return sum(_nodes_of(field.type) for field in schema)


def _nodes_of(data_type: pa.DataType) -> int:
    storage = data_type.storage_type if isinstance(data_type, pa.BaseExtensionType) else data_type
    return 1 + sum(_nodes_of(storage.field(number).type) for number in range(storage.num_fields))
