"""Metadata of many record batches of one schema at once: a template of Arrow's, with the numbers filled in.

The flatbuffers of such batches differ in numbers alone: rows, nulls, places and lengths of buffers, the length of the
body. Where these stand is read off from one message that Arrow itself wrote.
"""
# PURE

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .flatbuffer import field_position, unsigned, vector
from .layout import Int64Array
from .messages import (
    BATCH_BUFFERS_SLOT,
    BATCH_NODES_SLOT,
    BATCH_ROWS_SLOT,
    MESSAGE_BODY_LENGTH_SLOT,
    MESSAGE_HEADER_SLOT,
    PREFIX_LENGTH,
    metadata_length_of,
)

_NUMBER_BYTES = 8

UInt8Array = npt.NDArray[np.uint8]


class BatchTemplate:
    """Makes the metadata of uncompressed record batches of one schema.

    Args:
        schema: of columns that have no others in them, one of them at least; B buffers in all.
    """

    def __init__(self, schema: pa.Schema) -> None:
        columns = [pa.nulls(1, field.type) for field in schema]
        # A null has no buffer of values in some types, and a body without bytes leaves out its length.
        message = pa.RecordBatch.from_arrays(columns, schema=pa.schema([f.with_nullable(True) for f in schema]))
        serialized = message.serialize()
        head = serialized[: metadata_length_of(memoryview(serialized)[:PREFIX_LENGTH])].to_pybytes()
        flatbuffer = head[PREFIX_LENGTH:]
        header = _place(flatbuffer, MESSAGE_HEADER_SLOT)
        batch = header + unsigned(flatbuffer, header)
        self._head = np.frombuffer(head, np.uint8)
        self._body_length = _number_at(_place(flatbuffer, MESSAGE_BODY_LENGTH_SLOT))
        self._rows = _number_at(_place(flatbuffer, BATCH_ROWS_SLOT, batch))
        self._nodes = _number_at(vector(flatbuffer, _place(flatbuffer, BATCH_NODES_SLOT, batch), 16).start)
        self._buffers = _number_at(vector(flatbuffer, _place(flatbuffer, BATCH_BUFFERS_SLOT, batch), 16).start)

    @property
    def metadata_bytes(self) -> int:
        """H, of each record batch."""
        return len(self._head)

    def fill(self, row_counts: Int64Array, null_counts: Int64Array, buffer_lengths: Int64Array) -> UInt8Array:
        """The metadata of F record batches, their buffers behind each other, each filled up to eight bytes.

        Args:
            row_counts: ``int64[F]``.
            null_counts: ``int64[F, C]``, of each column.
            buffer_lengths: ``int64[F, B]``, bytes; 0 for a buffer that is not there.

        Returns:
            ``uint8[F, metadata_bytes]``, each with its prefix and without a seal.
        """
        padded = buffer_lengths + -buffer_lengths % _NUMBER_BYTES
        stops = np.cumsum(padded, axis=1)
        metadata = np.tile(self._head, (len(row_counts), 1))
        numbers = metadata.view("<i8")
        numbers[:, self._body_length] = stops[:, -1]
        numbers[:, self._rows] = row_counts
        columns, buffers = 2 * null_counts.shape[1], 2 * buffer_lengths.shape[1]
        numbers[:, self._nodes : self._nodes + columns : 2] = row_counts[:, np.newaxis]
        numbers[:, self._nodes + 1 : self._nodes + columns : 2] = null_counts
        numbers[:, self._buffers : self._buffers + buffers : 2] = stops - padded
        numbers[:, self._buffers + 1 : self._buffers + buffers : 2] = buffer_lengths
        return metadata


def _place(flatbuffer: bytes, slot: int, table: int | None = None) -> int:
    place = field_position(flatbuffer, slot, table)
    assert place is not None  # a message of a row and a column has them all
    return place


def _number_at(place: int) -> int:
    """Which of the metadata's eight-byte numbers stands at a place of its flatbuffer."""
    number, rest = divmod(PREFIX_LENGTH + place, _NUMBER_BYTES)
    assert rest == 0  # flatbuffers align numbers
    return number
