"""Where to cut a sequence of messages so that its parts are even. Pure."""
# PURE

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .layout import Int64Array


class PartitionSlice(NamedTuple):
    """Some of a partition's record batches, one behind another; plain numbers, so that it can be sent to a worker.

    Attributes:
        partition: its number.
        start_batch, stop_batch: the batches ``[start_batch, stop_batch)`` of the partition, counted from 0.
        byte_count: their bytes in the file.
    """

    partition: int
    start_batch: int
    stop_batch: int
    byte_count: int


def even_cuts(offsets: Int64Array, part_count: int) -> list[int]:
    """Cut a sequence into at most ``part_count`` parts of about equal bytes, each of one element or more.

    Args:
        offsets: ``int64[N + 1]``, increasing: element n is the bytes ``[offsets[n], offsets[n + 1])``.
        part_count: 1 or more.

    Returns:
        Where parts start and the last one ends, as positions in ``offsets``: 0 first, N last, increasing. Each inner
        cut is the border nearest to where an even cut would be, so that no part is larger than an even one and the
        largest element together.
    """
    if len(offsets) == 1:
        return [0]
    even = np.linspace(offsets[0], offsets[-1], part_count + 1)
    above = np.searchsorted(offsets, even).clip(1, len(offsets) - 1)
    below = above - 1
    nearest = np.where(even - offsets[below] < offsets[above] - even, below, above)
    nearest[0], nearest[-1] = 0, len(offsets) - 1
    cuts: list[int] = np.unique(nearest).tolist()
    return cuts
