"""A block of rows as finished messages: what it is, who makes it, and how the messages of several come in order. Pure.

``flat_block.py`` makes blocks where columns have no others in them and bodies are plain, ``arrow_block.py`` all others.
"""
# PURE

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.gather import Int64Array, UInt8Array
from shuffle.partitioners.protocol import PartitionNumbers

# Arrow's usual pool, mimalloc, keeps much of what one thread allocated and another one freed: 70 MiB, seen.
POOL = pa.system_memory_pool()
"""Where rows are copied to."""

MESSAGE_BYTES = 8 << 20
"""Up to here, what a block has of a partition is one message."""

_AT_ONCE = 4096  # messages, the numbers of which are Python's, each of 32 bytes

Rows = tuple[pa.RecordBatch, PartitionNumbers]
"""A batch and the partition number of each row."""

Allocate = Callable[[int], UInt8Array]
"""Gives memory of at least the number of bytes that it is asked for."""


class EncodedMessage(NamedTuple):
    """What ``SpillEncoder.write_message`` takes."""

    partition: int
    row_count: int
    metadata: memoryview
    body: tuple[bytes | memoryview, ...]
    body_checksum: int


class EncodedBlock(Protocol):
    """M messages in the order of their partitions; of a partition's, the rows stand in the order in which they came."""

    @property
    def partitions(self) -> Int64Array:
        """``int64[M]``, of each message, not descending."""

    @property
    def arena(self) -> UInt8Array | None:
        """What was allocated for the bodies; None where they lie elsewhere."""

    def message(self, number: int) -> EncodedMessage:
        """A message, borrowed. Fast where they are asked for in their order."""


class BlockEncoder(Protocol):
    """Makes blocks of rows of one schema."""

    @property
    def copies(self) -> int:
        """How many plain copies of a block's rows there are at once while it is encoded, its messages not counted."""

    def prepared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, in a form of which Arrow takes rows: what is encoded is the same."""

    def message_bytes(self) -> int:
        """What a message takes in memory besides its rows."""

    def encode(self, rows: Sequence[Rows], most_rows: int, allocate: Allocate) -> EncodedBlock:
        """The messages of a block. Called by several threads at once.

        Args:
            rows: of the schema, one batch at least; dictionaries and views may stand for plain values.
            most_rows: of a message, about: a partition with more has several.
            allocate: gives memory for what is encoded.
        """


def in_partition_order(blocks: Sequence[EncodedBlock]) -> Iterator[EncodedMessage]:
    """The messages of all blocks; within a partition in the order of the blocks."""
    if not blocks:
        return
    counts = [len(block.partitions) for block in blocks]
    block_numbers = np.repeat(np.arange(len(blocks)), counts)
    message_numbers = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort(np.concatenate([block.partitions for block in blocks]), kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        for block, number in zip(block_numbers[some].tolist(), message_numbers[some].tolist(), strict=True):
            yield blocks[block].message(number)


def taken_rows(batch: pa.RecordBatch, order: npt.NDArray[np.intp]) -> pa.RecordBatch:
    """Rows of a batch, in the order given."""
    # Not pa.array(order), which imports pandas where it is installed: 26 MiB.
    indices = pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)])
    return pc.take(batch, indices, boundscheck=False, memory_pool=POOL)
