"""Where neighbouring partitions are in a file, and the checksum of their bytes: from the layout, and fast for many."""
# PURE

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spill_format.checksum import advance, concatenate
from spill_format.layout import PartitionLayout

_PERIOD = 2**31 - 1
"""Zero bytes over which a checksum of CRC-32C advances to itself. Its polynomial is x + 1 times a primitive one of
degree 31, whose order in bits is odd, and so the same in bytes.
"""


class Extent(NamedTuple):
    """Neighbouring partitions.

    Attributes:
        start, stop: their bytes ``[start, stop)`` in the file.
        row_count: their rows.
        crc32c: of their bytes.
    """

    start: int
    stop: int
    row_count: int
    crc32c: int


def extent_of(layout: PartitionLayout) -> Extent:
    """The extent of all partitions of a layout."""
    assert layout.rows is not None  # an index always has them
    assert layout.crc32c is not None
    start, stop = int(layout.offsets[0]), int(layout.offsets[-1])
    if len(layout.rows) == 1:
        return Extent(start, stop, int(layout.rows[0]), int(layout.crc32c[0]))
    checksum = concatenate(layout.crc32c, np.diff(layout.offsets), np.array([len(layout.rows)]))
    return Extent(start, stop, int(layout.rows.sum()), int(checksum[0]))


class RangeSums:
    """Every extent of a file in one step, whatever its width.

    A checksum is linear: that of neighbours is the XOR of their own, each advanced over the bytes behind it. Advanced
    to the end of the file, all can be summed up once; two sums differ by the share of what lies between, from which
    the bytes behind it are taken back by advancing it further, over what is left of a full period.

    Args:
        layout: of all partitions.
    """

    def __init__(self, layout: PartitionLayout) -> None:
        assert layout.rows is not None  # an index always has them
        assert layout.crc32c is not None
        self._offsets = layout.offsets
        self._rows = np.concatenate(([0], np.cumsum(layout.rows)))
        shares = advance(layout.crc32c, layout.offsets[-1] - layout.offsets[1:])
        self._shares = np.concatenate((np.zeros(1, np.uint32), np.bitwise_xor.accumulate(shares)))

    def extent(self, start: int, stop: int) -> Extent:
        """The extent of partitions ``start`` … ``stop - 1``."""
        offset, stop_offset = int(self._offsets[start]), int(self._offsets[stop])
        behind = int(self._offsets[-1]) - stop_offset
        share = self._shares[stop : stop + 1] ^ self._shares[start : start + 1]
        checksum = int(advance(share, np.array([-behind % _PERIOD]))[0])
        return Extent(offset, stop_offset, int(self._rows[stop] - self._rows[start]), checksum)
