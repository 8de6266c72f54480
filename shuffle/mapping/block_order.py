"""Which rows go into which message of a block: in the order of their partitions, and within one in their own. Pure."""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shuffle.arrays.gather import Int64Array, UInt32Array
from shuffle.partitioners.protocol import PartitionNumbers


class Share(NamedTuple):
    """What a batch gives to a block: run r of its rows, ``order[starts[r]:starts[r + 1]]``, to message ``messages[r]``.

    Attributes:
        order: ``uint32[N]``.
        starts: ``int64[R + 1]``, ascending.
        messages: ``intp[R]``, numbers of the block's messages, ascending.
    """

    order: UInt32Array
    starts: Int64Array
    messages: npt.NDArray[np.intp]

    @property
    def counts(self) -> Int64Array:
        """Rows of each run."""
        return np.diff(self.starts)


def shares(numbers: Sequence[PartitionNumbers], most_rows: int) -> tuple[Int64Array, list[Share]]:
    """The partition of each message of a block, ascending, and the share of each batch.

    Args:
        numbers: the partition number of each row, an array a batch.
        most_rows: of a message; a partition with more has a message for each batch that has rows of it.
    """
    ordered = [_ordered(of_batch) for of_batch in numbers]
    partitions = np.concatenate([of_batch for _, _, of_batch in ordered])
    batch_numbers = np.repeat(np.arange(len(ordered)), [len(of_batch) for _, _, of_batch in ordered])
    distinct, places = np.unique(partitions, return_inverse=True)
    row_counts = np.zeros(len(distinct), np.int64)
    np.add.at(row_counts, places, np.concatenate([np.diff(starts) for _, starts, _ in ordered]))
    # A message is known by its partition and, where that is large, by its batch.
    keys = partitions * len(ordered) + np.where(row_counts[places] > most_rows, batch_numbers, 0)
    messages, places = np.unique(keys, return_inverse=True)
    of_batches = np.split(places, np.flatnonzero(np.diff(batch_numbers)) + 1)
    return messages // len(ordered), [
        Share(order, starts, of_batch) for (order, starts, _), of_batch in zip(ordered, of_batches, strict=True)
    ]


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


def stable_order(partition_numbers: PartitionNumbers) -> npt.NDArray[np.intp]:
    """The order that sorts the numbers and keeps equal ones as they are."""
    if partition_numbers.dtype.itemsize <= 2:
        return np.argsort(partition_numbers, kind="stable")  # a radix sort for 16 bits, for more it compares
    low_order = np.argsort(partition_numbers.astype(np.uint16), kind="stable")
    high = (partition_numbers >> 16).astype(np.uint16)[low_order]
    return low_order[np.argsort(high, kind="stable")]


def run_starts(sorted_numbers: PartitionNumbers) -> npt.NDArray[np.intp]:
    """Where each number begins."""
    return np.flatnonzero(np.diff(sorted_numbers, prepend=sorted_numbers[:1] + 1))


def _ordered(numbers: PartitionNumbers) -> tuple[UInt32Array, Int64Array, Int64Array]:
    """The order of a batch's rows, where runs of it start, and the partition of each run."""
    order = stable_order(numbers)
    in_order = numbers[order]
    starts = run_starts(in_order)
    return order.astype(np.uint32), np.append(starts, len(order)), in_order[starts].astype(np.int64)
