"""Partitions as an Arrow stream in memory: schema message, ranges, end-of-stream marker, checked and decoded.

That is how ranges leave the file they were in: from an object store, or over the network. Where the bytes come from is
the business of others.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.ipc

from .arrow_threads import with_threads
from .checksum import crc32c
from .description import selected_fields
from .errors import ChecksumError, CorruptError, TruncatedError
from .messages import END_OF_STREAM, PREFIX_LENGTH, metadata_length_of, read_header_seal, sealed_crc32c
from .schemas import from_storage, original_schema
from .undecodable import decoding

Bytes = bytes | bytearray | memoryview


def ranges_within(stream: Bytes, path: str) -> memoryview:
    """The bytes of a stream between its schema message and its end-of-stream marker.

    Raises:
        CorruptError, ChecksumError, TruncatedError: it does not begin with an undamaged schema message, or does not end
            with the marker.
    """
    view = memoryview(stream)
    try:
        start = metadata_length_of(view[:PREFIX_LENGTH])
    except ValueError as error:
        raise CorruptError(f"not an Arrow stream ({error})", path=path, offset=0) from error
    stop = len(view) - len(END_OF_STREAM)
    if stop < start or view[stop:] != END_OF_STREAM:
        raise TruncatedError("the stream has no end-of-stream marker", path=path, offset=max(stop, 0))
    check_schema_message(view[:start], path)
    return view[start:stop]


def check_schema_message(message: Bytes, path: str) -> None:
    """Raise CorruptError or ChecksumError unless a stream's schema message is as its seal says."""
    view = memoryview(message)
    seal = read_header_seal(view)
    if seal is None:
        raise CorruptError("the schema message has no seal", path=path, offset=0)
    if (computed := sealed_crc32c(view)) != seal.metadata_crc32c:
        raise ChecksumError(
            "CRC-32C of the schema message",
            path=path,
            offset=0,
            expected=f"{seal.metadata_crc32c:08x}",
            actual=f"{computed:08x}",
        )


def check_ranges(ranges: Bytes, recorded_crc32c: int, path: str, partition: int | None = None) -> None:
    """Raise ChecksumError unless the bytes have the checksum that is recorded for them."""
    check_crc32c(crc32c(ranges), recorded_crc32c, len(ranges), path, partition)


def check_crc32c(computed: int, recorded_crc32c: int, byte_count: int, path: str, partition: int | None = None) -> None:
    """Raise ChecksumError unless the checksum of bytes that arrived is the one that is recorded for them."""
    if computed != recorded_crc32c:
        raise ChecksumError(
            f"CRC-32C of the {byte_count} bytes that arrived",
            path=path,
            partition=partition,
            expected=f"{recorded_crc32c:08x}",
            actual=f"{computed:08x}",
        )


def check_values(stream: Bytes, path: str) -> None:
    """Raise CorruptError unless every record batch of a stream can be decoded, and has valid values in it."""
    buffer = pa.py_buffer(stream)
    first, _, _ = _opened(buffer, path)

    def validate(use_threads: bool) -> None:
        for batch in first if use_threads else _reader(buffer, use_threads=False):
            batch.validate(full=True)

    with decoding("a record batch", path, byte_count=len(stream)):
        with_threads(validate)


def decode_stream(stream: Bytes, path: str, columns: Sequence[str] | None = None, *, validate: bool = True) -> pa.Table:
    """The rows of a stream.

    Args:
        stream: whole; the table refers to it.
        path: where it came from, for errors.
        columns: names of the columns wanted, in the order wanted; None for all.
        validate: whether the values are checked, too: offsets, UTF-8. Without, a forged stream can crash its reader.

    Returns:
        A table with the columns' original types.

    Raises:
        CorruptError: it cannot be decoded.
        ValueError: there is no such column, or several have its name.
    """
    buffer = pa.py_buffer(stream)
    first, stored, selected = _opened(buffer, path)
    positions: list[int] | None = None
    order: list[int] | None = None
    if columns is not None:
        positions = selected_fields(selected, columns)
        selected = pa.schema([selected.field(each) for each in positions], selected.metadata)
        stored_order = sorted(positions)  # in which Arrow gives the columns
        order = [stored_order.index(position) for position in positions]
    batches: list[pa.RecordBatch] = []

    def batches_of(use_threads: bool) -> list[pa.RecordBatch]:
        return list(first if use_threads and columns is None else _reader(buffer, positions, use_threads=use_threads))

    with decoding("a record batch", path, byte_count=len(stream)):
        for read in with_threads(batches_of):
            read.validate(full=validate)
            if selected is stored:
                batches.append(read)
            else:
                batches += from_storage(read if order is None else read.select(order), selected)
    return pa.Table.from_batches(batches, schema=selected)


def _opened(buffer: pa.Buffer, path: str) -> tuple[pa.RecordBatchReader, pa.Schema, pa.Schema]:
    """A reader of a stream, and its schema, as it is stored and in its original form: the same object if they agree."""
    with decoding("the schema message", path, 0):
        reader = pa.ipc.open_stream(buffer)
        stored = reader.schema  # another object each time that the reader is asked
        return reader, stored, original_schema(stored)


def _reader(buffer: pa.Buffer, positions: list[int] | None = None, *, use_threads: bool) -> pa.RecordBatchReader:
    """A reader of the stored columns at these positions, or of all, in the stored order."""
    return pa.ipc.open_stream(buffer, options=pa.ipc.IpcReadOptions(included_fields=positions, use_threads=use_threads))
