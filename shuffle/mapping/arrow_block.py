"""A block of rows as finished messages, for columns of every type and bodies of every compression, by Arrow. Pure."""
# PURE

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from shuffle.arrays.gather import Int64Array
from shuffle.arrays.sortable import from_sortable, has_unions, sortable_schema, to_sortable
from shuffle.arrays.stand_ins import to_plain, with_types_of
from shuffle.mapping.block_order import run_starts, stable_order
from shuffle.mapping.encoded_block import POOL, Allocate, EncodedBlock, EncodedMessage, Rows, taken_rows
from shuffle.partitioners.protocol import PartitionNumbers
from spill_format.checksum import crc32c
from spill_format.schemas import to_storage
from spill_format.serializer import Serializer

_MESSAGE_BYTES = 1000
_COLUMN_BYTES = 60


class ArrowEncoder:
    """Makes blocks by Arrow's own functions.

    Args:
        schema: as it is stored.
        compression: of bodies.
    """

    def __init__(self, schema: pa.Schema, compression: str | None) -> None:
        self._schema = schema
        self._sortable_schema = sortable_schema(schema)
        self._compression = compression

    @property
    def copies(self) -> int:
        """Two: the rows decoded and joined, and the same in partition order."""
        return 2

    def prepared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, decoded, in a form of which Arrow takes rows."""
        views = with_types_of(batch.schema, self._schema)
        return to_sortable(to_storage(to_plain(batch, views), self._schema), self._sortable_schema)

    def message_bytes(self) -> int:
        """What a message takes in memory besides its rows, about: metadata, and Python's objects."""
        return _MESSAGE_BYTES + _COLUMN_BYTES * len(self._schema)

    def encode(self, rows: Sequence[Rows], most_rows: int, allocate: Allocate) -> EncodedBlock:  # noqa: ARG002
        """The messages of a block; see ``BlockEncoder``. Arrow allocates memory itself."""
        numbers: PartitionNumbers = np.concatenate([of_batch for _, of_batch in rows])
        joined = _joined([self.prepared(batch) for batch, _ in rows])
        if joined.num_rows > 1:  # a single row is not copied: it may be all that memory holds
            order = stable_order(numbers)
            joined, numbers = taken_rows(joined, order), numbers[order]
        serializer = Serializer(self._schema, self._compression)
        messages = []
        for start, stop in _slices(numbers, most_rows):
            metadata, body = serializer.serialize(from_sortable(joined.slice(start, stop - start), self._schema))
            checksum = 0
            for piece in body:
                checksum = crc32c(piece, checksum)
            messages.append(EncodedMessage(int(numbers[start]), stop - start, metadata, body, checksum))
        return _ArrowBlock(messages)


class _ArrowBlock:
    arena = None

    def __init__(self, messages: list[EncodedMessage]) -> None:
        self._messages = messages
        self.partitions: Int64Array = np.array([message.partition for message in messages], np.int64)

    def message(self, number: int) -> EncodedMessage:
        return self._messages[number]


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    joined = pa.concat_batches(batches, memory_pool=POOL)
    # Dense unions keep the values of all rows of their blocks when they are joined; taking rows drops them.
    return taken_rows(joined, np.arange(joined.num_rows)) if has_unions(joined.schema) else joined


def _slices(numbers: PartitionNumbers, most_rows: int) -> Iterator[tuple[int, int]]:
    """Where the rows of each partition start and stop; a partition of more than ``most_rows`` is cut evenly."""
    starts = run_starts(numbers).tolist()
    for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
        step = -(-(stop - start) // -(-(stop - start) // most_rows))
        for begin in range(start, stop, step):
            yield begin, min(begin + step, stop)
