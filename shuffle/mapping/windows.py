"""Rows that are held as they came, cut by partition into windows that are encoded one after the other. Pure.

Where partitions are many and memory is little, blocks of a few batches would give each partition a few rows. So all
rows are held until they are written, and only some partitions' are there encoded at any time.
"""
# PURE

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from shuffle.arrays.gather import Int64Array
from shuffle.mapping.encoded_block import Rows, taken_rows


def windows(rows: Sequence[Rows], partition_count: int, row_bytes: int, window_bytes: int) -> Iterator[list[Rows]]:
    """The rows, those of some partitions at a time, in the order of the partitions. Copies.

    Args:
        rows: one batch at least, of types of which Arrow takes rows.
        row_bytes: what all rows take.
        window_bytes: what those of a window take, about. A partition that has more has several windows, each of the
            rows of some batches.
    """
    counts = np.zeros(partition_count, np.int64)
    for _, numbers in rows:
        counts += np.bincount(numbers, minlength=partition_count)
    most_rows = max(window_bytes * int(counts.sum()) // max(row_bytes, 1), 1)
    for start, stop in _borders(counts, most_rows):
        window: list[Rows] = []
        row_count = 0
        for batch, numbers in rows:
            chosen = np.flatnonzero((numbers >= start) & (numbers < stop))
            if window and stop == start + 1 and row_count + len(chosen) > most_rows:
                yield window
                window, row_count = [], 0
            if len(chosen):
                window.append((taken_rows(batch, chosen), numbers[chosen]))
                row_count += len(chosen)
        yield window


def _borders(row_counts: Int64Array, most_rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of partitions, from start to stop, each with at most ``most_rows`` rows or with a single partition."""
    filled = np.flatnonzero(row_counts).tolist()
    start, row_count = filled[0], 0
    for partition, more in zip(filled, row_counts[filled].tolist(), strict=True):
        if row_count and row_count + more > most_rows:
            yield start, partition
            start, row_count = partition, 0
        row_count += more
    yield start, filled[-1] + 1
