"""Rows brought into partition order, a block at a time. Pure.

Blocks are small because sorting is bound by the cache: taking rows in partition order from 256 Ki rows costs a third, a
value, of what it costs from millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BLOCK_ROWS = 256 << 10
_JOINED_BYTES = 128 << 10  # smaller pieces of a partition are joined: a message's frame costs about 1 KiB and 20 µs


@dataclass(frozen=True, slots=True, eq=False)
class SortedBlock:
    """A block of rows in partition order; within a partition in the order in which they came.

    Attributes:
        rows: the record batch.
        begins: ``int32[P + 1]``; partition p is the rows ``[begins[p], begins[p + 1])``.
    """

    rows: pa.RecordBatch
    begins: npt.NDArray[np.int32]

    @property
    def memory_bytes(self) -> int:
        """Memory that it holds."""
        return int(self.rows.nbytes) + self.begins.nbytes


def sort_block(
    batch: pa.RecordBatch, partition_numbers: npt.NDArray[np.unsignedinteger], partition_count: int
) -> SortedBlock:
    """Bring a batch's rows into the order of their partition numbers, one a row.

    Raises:
        ValueError: there are more or fewer numbers than rows, or one is not a partition.
    """
    if partition_numbers.shape != (batch.num_rows,):
        raise ValueError(f"{batch.num_rows} rows need as many partition numbers, not shape {partition_numbers.shape}")
    counts = np.bincount(partition_numbers, minlength=partition_count)
    if len(counts) > partition_count:
        row = int(np.argmax(partition_numbers >= partition_count))
        raise ValueError(
            f"row {row} has partition number {partition_numbers[row]}: there are {partition_count}, from 0"
        )
    begins = np.zeros(partition_count + 1, dtype=np.int32)
    np.cumsum(counts, out=begins[1:])
    return SortedBlock(_take(batch, _stable_order(partition_numbers)), begins)


def partition_batches(blocks: Sequence[SortedBlock]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of all blocks, partition by partition: its number and a batch, several for a partition with much data.

    Within a partition, rows stand in the order of the blocks.
    """
    if not blocks:
        return
    begins = np.stack([block.begins for block in blocks])
    row_bytes = sum(block.memory_bytes for block in blocks) / max(sum(block.rows.num_rows for block in blocks), 1)
    joined_rows = max(int(_JOINED_BYTES / row_bytes), 1)
    for partition in np.flatnonzero((begins[:, 1:] > begins[:, :-1]).any(axis=0)).tolist():
        pieces: list[pa.RecordBatch] = []
        waiting_rows = 0
        for block, begin, end in zip(
            blocks, begins[:, partition].tolist(), begins[:, partition + 1].tolist(), strict=True
        ):
            if begin == end:
                continue
            pieces.append(block.rows.slice(begin, end - begin))
            waiting_rows += end - begin
            if waiting_rows >= joined_rows:
                yield partition, _joined(pieces)
                pieces, waiting_rows = [], 0
        if pieces:
            yield partition, _joined(pieces)


def _stable_order(partition_numbers: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.intp]:
    """The order that sorts the numbers and keeps equal ones as they are."""
    if partition_numbers.dtype.itemsize <= 2:
        return np.argsort(partition_numbers, kind="stable")  # a radix sort for 16 bits, for more it compares
    low_order = np.argsort(partition_numbers.astype(np.uint16), kind="stable")
    high = (partition_numbers >> 16).astype(np.uint16)[low_order]
    return low_order[np.argsort(high, kind="stable")]


def _take(batch: pa.RecordBatch, order: npt.NDArray[np.intp]) -> pa.RecordBatch:
    indices = pa.array(order)
    try:
        return batch.take(indices)
    except pa.ArrowNotImplementedError:
        columns = [_take_column(column, order, indices) for column in batch.columns]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _take_column(column: pa.Array, order: npt.NDArray[np.intp], indices: pa.Array) -> pa.Array:
    """Rows of a column in another order, also where Arrow has no take for its type (views, and nested ones of them)."""
    try:
        return column.take(indices)
    except pa.ArrowNotImplementedError:
        if pa.types.is_string_view(column.type):
            return column.cast(pa.large_string()).take(indices).cast(column.type)
        if pa.types.is_binary_view(column.type):
            return column.cast(pa.large_binary()).take(indices).cast(column.type)
        # Slow, a microsecond a value, but it is right for every type that can be concatenated.
        return pa.concat_arrays([column.slice(row, 1) for row in order.tolist()] or [column])


def _joined(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
