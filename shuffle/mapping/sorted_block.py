"""Rows brought into partition order, a block at a time, and blocks joined into the batches of each partition. PURE.

Blocks are small because sorting is bound by the cache: taking rows in partition order from 256 Ki rows costs a third, a
value, of what it costs from millions. Nothing here depends on how many threads call it.
"""
# PURE

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.sortable import has_unions
from shuffle.partitioners.protocol import PartitionNumbers

BLOCK_ROWS = 256 << 10

# Arrow's usual pool, mimalloc, keeps much of what one thread allocated and another one freed: 70 MiB, seen.
_POOL = pa.system_memory_pool()

_BATCH_BYTES = 1 << 20  # a message's frame costs about 1 KiB and 50 µs; beyond this size, batches leave the cache
# Strings and lists have offsets of 31 bits, and what rows take once they are decoded is known only about.
_LARGEST_BLOCK_BYTES = 256 << 20
_BLOCK_OVERHEAD_BYTES = 4 << 10  # what Python and Arrow keep for a batch of no rows

# To slice and join costs 8 µs a piece whatever its size, to take rows out of a joined window about 130 ns a row.
_SMALL_PIECE_ROWS = 64
_SMALL_PIECE_BYTES = 32 << 10
_WINDOW_PIECE_ROWS = 8 * _SMALL_PIECE_ROWS


@dataclass(frozen=True, slots=True, eq=False)
class SortedBlock:
    """A block of rows in partition order; within a partition in the order in which they came.

    Attributes:
        rows: the record batch.
        partition_numbers: of its rows, ascending.
        byte_count: of the rows, as Arrow counts them.
    """

    rows: pa.RecordBatch
    partition_numbers: PartitionNumbers
    byte_count: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, on average, rounded up: whole, so that sums of them agree however they are taken."""
        return max(-(-self.byte_count // len(self.partition_numbers)), 1)


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``[start, stop)`` of a block."""

    block: SortedBlock
    start: int
    stop: int

    @property
    def rows(self) -> pa.RecordBatch:
        """The rows, not copied."""
        return self.block.rows.slice(self.start, self.stop - self.start)

    @property
    def byte_count(self) -> int:
        """Bytes of the rows, estimated."""
        return (self.stop - self.start) * self.block.row_bytes


def block_rows(partition_count: int) -> int:
    """How many rows are worth sorting: enough for a partition's pieces not to be tiny, at most ``BLOCK_ROWS``."""
    return min(max(2 * _SMALL_PIECE_ROWS * partition_count, BLOCK_ROWS // 4), BLOCK_ROWS)


def largest_block_bytes(budget_bytes: int) -> int:
    """Bytes of rows that a block may have: its part of the budget, however large that is no more than 256 MiB."""
    return min(budget_bytes, _LARGEST_BLOCK_BYTES)


def block_bytes(row_bytes: int, number_bytes: int) -> int:
    """The memory that a block of so many bytes of rows and of partition numbers will take."""
    return row_bytes + number_bytes + _BLOCK_OVERHEAD_BYTES


def check_partition_numbers(partition_numbers: PartitionNumbers, row_count: int, partition_count: int) -> None:
    """Raise ValueError unless there is a number for each row, and each is that of a partition."""
    if partition_numbers.shape != (row_count,):
        raise ValueError(f"{row_count} rows need as many partition numbers, not an array of {partition_numbers.shape}")
    if partition_numbers.dtype not in (np.uint16, np.uint32):
        raise ValueError(f"partition numbers must be uint16 or uint32, not {partition_numbers.dtype}")
    if partition_numbers.max(initial=0) >= partition_count:
        row = int(np.argmax(partition_numbers >= partition_count))
        raise ValueError(
            f"row {row} has partition number {partition_numbers[row]}: there are {partition_count}, from 0"
        )


def sort_block(batches: Sequence[pa.RecordBatch], partition_numbers: Sequence[PartitionNumbers]) -> SortedBlock:
    """Bring the rows of ``batches``, at least one, into the order of their partition numbers, an array a batch.

    The schema must be a ``sortable_schema``. A single row is not copied.
    """
    rows = _joined(batches)
    numbers = _concatenated(partition_numbers)
    if rows.num_rows > 1:
        order = stable_order(numbers)
        rows, numbers = _taken(rows, order), numbers[order]
    return SortedBlock(rows, numbers, int(rows.nbytes))


def stable_order(partition_numbers: PartitionNumbers) -> npt.NDArray[np.intp]:
    """The order that sorts the numbers and keeps equal ones as they are."""
    if partition_numbers.dtype.itemsize <= 2:
        return np.argsort(partition_numbers, kind="stable")  # a radix sort for 16 bits, for more it compares
    low_order = np.argsort(partition_numbers.astype(np.uint16), kind="stable")
    high = (partition_numbers >> 16).astype(np.uint16)[low_order]
    return low_order[np.argsort(high, kind="stable")]


def plan_windows(blocks: Sequence[SortedBlock], partition_count: int) -> Iterator[list[Piece]]:
    """Cut the rows of all blocks into windows, in partition order; ``window_batches`` makes batches of each.

    A window holds a partition with many rows, or a part of it, or several partitions with few.
    """
    if not blocks:
        return
    borders = _borders(blocks, partition_count)
    starts = np.stack([np.searchsorted(block.partition_numbers, borders) for block in blocks], axis=1).tolist()
    for first, last in pairwise(starts):
        pieces = [
            Piece(block, start, stop) for block, start, stop in zip(blocks, first, last, strict=True) if start < stop
        ]
        if sum(piece.byte_count for piece in pieces) <= _BATCH_BYTES:
            yield pieces
        else:
            yield from _batch_sized(pieces)


def window_batches(window: Sequence[Piece]) -> list[tuple[int, pa.RecordBatch]]:
    """The batches of a window, one for each partition in it, with its number; in partition order.

    Within a partition, rows stand in the order of the blocks.
    """
    rows = _joined([piece.rows for piece in window])
    numbers: PartitionNumbers = np.concatenate(
        [piece.block.partition_numbers[piece.start : piece.stop] for piece in window]
    )
    if len(window) > 1 and numbers.min() < numbers.max():
        order = stable_order(numbers)
        rows, numbers = _taken(rows, order), numbers[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] + 1)).tolist()
    return [
        (int(numbers[start]), rows.slice(start, stop - start))
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True)
    ]


def _borders(blocks: Sequence[SortedBlock], partition_count: int) -> list[int]:
    """The first partition of each window, and the number of partitions. Small ones share one, for better pieces."""
    row_counts = np.zeros(partition_count, np.int64)
    byte_counts = np.zeros(partition_count, np.int64)
    for block in blocks:
        counts = np.bincount(block.partition_numbers, minlength=partition_count)
        row_counts += counts
        byte_counts += counts * block.row_bytes
    small_rows, small_bytes = _SMALL_PIECE_ROWS * len(blocks), min(_SMALL_PIECE_BYTES * len(blocks), _BATCH_BYTES)
    most_rows = _WINDOW_PIECE_ROWS * len(blocks)
    borders: list[int] = []
    rows, size = most_rows, 0
    filled = np.flatnonzero(row_counts)
    for partition, more_rows, more_bytes in zip(
        filled.tolist(), row_counts[filled].tolist(), byte_counts[filled].tolist(), strict=True
    ):
        is_large = more_rows >= small_rows or more_bytes >= small_bytes
        if is_large or rows + more_rows > most_rows or size + more_bytes > _BATCH_BYTES:
            borders.append(partition)
            rows, size = 0, 0
        rows, size = (most_rows, 0) if is_large else (rows + more_rows, size + more_bytes)
    return [*borders, partition_count]


def _batch_sized(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces of one partition in groups, each large enough for a batch, and, down to a row, not much larger."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        step = max(_BATCH_BYTES // piece.block.row_bytes, 1)
        for start in range(piece.start, piece.stop, step):
            part = Piece(piece.block, start, min(start + step, piece.stop))
            if group and size + part.byte_count > _BATCH_BYTES:
                yield group
                group, size = [], 0
            group.append(part)
            size += part.byte_count
    yield group


def _concatenated(parts: Sequence[PartitionNumbers]) -> PartitionNumbers:
    return cast("PartitionNumbers", np.concatenate(parts))


def _taken(batch: pa.RecordBatch, order: npt.NDArray[np.intp]) -> pa.RecordBatch:
    # Not pa.array(order), which imports pandas where it is installed: 26 MiB.
    indices = pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)])
    return pc.take(batch, indices, boundscheck=False, memory_pool=_POOL)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    joined = pa.concat_batches(batches, memory_pool=_POOL)
    # Dense unions keep the values of all rows of their blocks when they are joined; taking rows drops them.
    return _taken(joined, np.arange(joined.num_rows)) if has_unions(joined.schema) else joined
