"""Whether the bytes of one range are what was written: its checksum, each message's frame and seal, and each record
batch decodable.

Bytes are read, never mapped: a disk that fails under a memory map kills the process, here it is an error.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.ipc

from shuffle.inspecting.pieces import lost_bytes_are_damage
from spill_format.checksum import crc32c
from spill_format.errors import ChecksumError, CorruptError
from spill_format.layout import Int64Array
from spill_format.messages import metadata_length_of, read_batch_size, read_seal, sealed_crc32c
from spill_format.schemas import original_schema
from spill_format.storage.local import read_exactly
from spill_format.structure import FileStructure

_UNDECODABLE = (pa.ArrowException, OSError, ValueError)


class RangeChecker:
    """Checks the ranges of one file, whose descriptor it borrows. Thread-safe.

    Args:
        descriptor: of the file.
        structure: of the file, found right.
        progress: told how many further bytes were read.

    Raises:
        CorruptError: the schema cannot be decoded.
    """

    def __init__(self, descriptor: int, structure: FileStructure, progress: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._structure = structure
        self._progress = progress
        self._message_offsets: Int64Array = structure.index.message_offsets
        self._first_messages: Int64Array = structure.index.first_messages
        try:
            self._schema = pa.ipc.read_schema(pa.py_buffer(structure.schema_message))
            original_schema(self._schema)
        except MemoryError:
            raise
        except _UNDECODABLE as error:
            problem = f"the schema message cannot be decoded ({error})"
            raise CorruptError(problem, path=structure.path, offset=8) from error

    def check(self, partition: int) -> None:
        """Check one range.

        Raises:
            ChecksumError: its bytes are not those that were written.
            CorruptError: they are, and yet no record batches of this schema, or not as many rows as the index says.
            OSError: it cannot be read.
        """
        layout = self._structure.index.layout
        assert layout.rows is not None  # an index always has both
        assert layout.crc32c is not None
        first, last = self._first_messages[partition : partition + 2].tolist()
        checksum, row_count = 0, 0
        problem: CorruptError | None = None
        for number in range(first, last):
            content = self._read_message(number, partition)
            checksum = crc32c(content, checksum)
            if problem is None:
                try:
                    row_count += self._check_message(content, number, partition)
                except CorruptError as error:
                    problem = error
        start, end = layout.offsets[partition : partition + 2].tolist()
        recorded = int(layout.crc32c[partition])
        if checksum != recorded:
            raise ChecksumError(
                f"CRC-32C of the range of {end - start} bytes",
                path=self._structure.path,
                partition=partition,
                offset=start,
                expected=f"{recorded:08x}",
                actual=f"{checksum:08x}",
            )
        if problem is not None:
            raise problem
        if row_count != layout.rows[partition]:
            raise self._corrupt(
                "number of rows of the partition", partition, start, int(layout.rows[partition]), row_count
            )

    def _read_message(self, number: int, partition: int) -> bytes:
        start, end = self._message_offsets[number : number + 2].tolist()
        with lost_bytes_are_damage(self._structure.path, partition, start):
            content = read_exactly(self._descriptor, start, end - start, self._structure.path)
        self._progress(len(content))
        return content

    def _check_message(self, content: bytes, number: int, partition: int) -> int:
        """Rows of a message, after all of it has been found right."""
        offset = int(self._message_offsets[number])
        expected_length = int(self._structure.index.metadata_lengths[number])
        try:
            length = metadata_length_of(content)
        except ValueError as error:
            raise self._corrupt(str(error), partition, offset) from error
        if length != expected_length:
            raise self._corrupt("length of a record batch's metadata", partition, offset, expected_length, length)
        metadata, body = memoryview(content)[:length], memoryview(content)[length:]
        seal = read_seal(metadata)
        if seal is None:
            raise self._corrupt("the record batch has no seal", partition, offset)
        if (computed := sealed_crc32c(metadata)) != seal.metadata_crc32c:
            checksums = f"{seal.metadata_crc32c:08x}", f"{computed:08x}"
            raise self._corrupt("CRC-32C of a record batch's metadata", partition, offset, *checksums)
        if (computed := crc32c(body)) != seal.body_crc32c:
            checksums = f"{seal.body_crc32c:08x}", f"{computed:08x}"
            raise self._corrupt("CRC-32C of a record batch's body", partition, offset, *checksums)
        if seal.partition != partition:
            problem = "the record batch was written for another partition"
            raise self._corrupt(problem, partition, offset, partition, seal.partition)
        try:
            pa.ipc.read_record_batch(pa.py_buffer(content), self._schema).validate(full=True)
            return read_batch_size(metadata).row_count
        except MemoryError:  # says nothing about the message
            raise
        except _UNDECODABLE as error:
            raise self._corrupt(f"the record batch cannot be decoded ({error})", partition, offset) from error

    def _corrupt(
        self, problem: str, partition: int, offset: int, expected: object = None, actual: object = None
    ) -> CorruptError:
        return CorruptError(
            problem, path=self._structure.path, partition=partition, offset=offset, expected=expected, actual=actual
        )
