"""The place of neighbouring partitions in a file, and the checksum of their bytes, computed from the layout."""
# PURE

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spill_format.checksum import advance, concatenate
from spill_format.layout import PartitionLayout

_PERIOD = 2**31 - 1
"""The number of zero bytes over which a CRC-32C checksum advances to itself. The polynomial of CRC-32C is x + 1 times a
primitive polynomial of degree 31, whose order in bits is odd, so that the order in bytes is the same number.
"""


class Extent(NamedTuple):
    """Neighbouring partitions of a file.

    Attributes:
        start, stop: the bytes ``[start, stop)`` of the file that hold the partitions.
        row_count: rows of the partitions.
        crc32c: checksum of the bytes.
    """

    start: int
    stop: int
    row_count: int
    crc32c: int


def extent_of(layout: PartitionLayout) -> Extent:
    """Return the extent of all partitions of a layout."""
    assert layout.rows is not None  # an index always has them
    assert layout.crc32c is not None
    start, stop = int(layout.offsets[0]), int(layout.offsets[-1])
    if len(layout.rows) == 1:
        return Extent(start, stop, int(layout.rows[0]), int(layout.crc32c[0]))
    checksum = concatenate(layout.crc32c, np.diff(layout.offsets), np.array([len(layout.rows)]))
    return Extent(start, stop, int(layout.rows.sum()), int(checksum[0]))


class RangeSums:
    """Running sums over a file, from which the extent of any neighbours follows in one step.

    CRC-32C is linear: the checksum of neighbours is the XOR of the checksums of each, advanced over the bytes after
    it. The constructor advances each checksum to the end of the file and keeps running XORs. Two running XORs differ by
    the checksum of the partitions between them, advanced to the end of the file. Advancing it further, up to a full
    period, takes the bytes after the partitions back.

    Args:
        layout: layout of all partitions of the file.
    """

    def __init__(self, layout: PartitionLayout) -> None:
        assert layout.rows is not None  # an index always has them
        assert layout.crc32c is not None
        self._offsets = layout.offsets
        self._rows = np.concatenate(([0], np.cumsum(layout.rows)))
        shares = advance(layout.crc32c, layout.offsets[-1] - layout.offsets[1:])
        self._shares = np.concatenate((np.zeros(1, np.uint32), np.bitwise_xor.accumulate(shares)))

    def extent(self, start: int, stop: int) -> Extent:
        """Return the extent of partitions ``start`` … ``stop - 1``."""
        offset, stop_offset = int(self._offsets[start]), int(self._offsets[stop])
        behind = int(self._offsets[-1]) - stop_offset
        share = self._shares[stop : stop + 1] ^ self._shares[start : start + 1]
        checksum = int(advance(share, np.array([-behind % _PERIOD]))[0])
        return Extent(offset, stop_offset, int(self._rows[stop] - self._rows[start]), checksum)
