"""Where the partitions of a file are, and what is known of each: arrays and the laws they obey.

Pure: nothing here opens a file. How a layout is written to disk is ``index.py``'s business.
"""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]


class LayoutDefect(NamedTuple):
    """The first law that a layout breaks: which, in which partition, and the two values that disagree."""

    problem: str
    partition: int
    expected: object
    actual: object


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PartitionLayout:
    """The ranges of a file's P partitions. Partition p is the bytes ``[offsets[p], offsets[p + 1])``.

    Attributes:
        offsets: ``int64[P + 1]``, bytes from the start of the file, never decreasing. Ranges touch each other.
        rows: ``int64[P]``, or None where the file does not say (opaque bytes).
        crc32c: ``uint32[P]``, CRC-32C of each range's bytes (0 for an empty one), or None where the file does not say.

    Raises:
        TypeError: something is no numpy array.
        ValueError: shapes or types are wrong, or a law is broken; the message names the partition.

    The arrays are made read-only; the layout does not copy them.
    """

    offsets: Int64Array
    rows: Int64Array | None = None
    crc32c: UInt32Array | None = None

    def __post_init__(self) -> None:
        shapes = {
            "offsets": (self.offsets, np.int64),
            "rows": (self.rows, np.int64),
            "crc32c": (self.crc32c, np.uint32),
        }
        for name, (array, dtype) in shapes.items():
            if array is None:
                continue
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} must be a numpy array, not {type(array).__name__}")
            if array.dtype != dtype:
                raise ValueError(f"{name} must be {np.dtype(dtype)}, not {array.dtype}")
            if name == "offsets" and (array.ndim != 1 or len(array) < 2):
                raise ValueError(f"offsets must be int64[P + 1] with P ≥ 1, not of shape {array.shape}")
            if name != "offsets" and array.shape != (self.partition_count,):
                raise ValueError(
                    f"{name} must have one value for each of {self.partition_count} partitions, "
                    f"not be of shape {array.shape}"
                )
            array.flags.writeable = False
        if (defect := find_defect(self.offsets, self.rows)) is not None:
            raise ValueError(
                f"partition {defect.partition}: {defect.problem}: expected {defect.expected}, found {defect.actual}"
            )

    def __repr__(self) -> str:
        rows = "" if self.rows is None else f"{self.row_count} rows, "
        return f"PartitionLayout({self.partition_count} partitions, {rows}{self.byte_count} bytes)"

    @property
    def partition_count(self) -> int:
        """P."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64Array:
        """Bytes of each range, ``int64[P]``."""
        return np.diff(self.offsets)

    @property
    def byte_count(self) -> int:
        """Bytes of all ranges together."""
        return int(self.offsets[-1] - self.offsets[0])

    @property
    def row_count(self) -> int | None:
        """Rows of all partitions together, or None where the file does not say."""
        return None if self.rows is None else int(self.rows.sum())


def find_defect(offsets: Int64Array, rows: Int64Array | None) -> LayoutDefect | None:
    """The first broken law of a layout's arrays, or None: offsets start at or above 0 and never decrease, rows are
    not negative and can be added up, and a partition of no bytes has no rows."""
    if offsets[0] < 0:
        return LayoutDefect("the first range starts before the file", 0, "an offset of 0 or more", int(offsets[0]))
    # Compared, not subtracted: a difference of offsets that a hostile file holds may pass 2**63 and wrap around.
    if (decreasing := offsets[1:] < offsets[:-1]).any():
        partition = int(np.argmax(decreasing))
        start, stop = int(offsets[partition]), int(offsets[partition + 1])
        return LayoutDefect("the range ends before it starts", partition, f"an end of {start} or more", stop)
    return None if rows is None else _find_row_defect(rows, offsets)


def _find_row_defect(rows: Int64Array, offsets: Int64Array) -> LayoutDefect | None:
    if (negative := rows < 0).any():
        partition = int(np.argmax(negative))
        return LayoutDefect("the row count is negative", partition, "0 or more", int(rows[partition]))
    if rows.sum(dtype=np.float64) >= 2.0**63:
        partition = int(np.argmax(rows))
        return LayoutDefect("the row count is absurd", partition, "fewer than 2**63 in the file", int(rows[partition]))
    if (unfounded := (rows > 0) & (offsets[1:] == offsets[:-1])).any():
        partition = int(np.argmax(unfounded))
        return LayoutDefect("the range is empty but has rows", partition, "0 rows", int(rows[partition]))
    return None


def concatenate(layouts: Sequence[PartitionLayout], first_offset: int) -> Int64Array:
    """The offsets of a file that holds, partition by partition, the ranges of all ``layouts`` one behind another.

    Args:
        layouts: at least one; all of the same partition count.
        first_offset: where the first range starts in the new file, in bytes.

    Returns:
        ``int64[P + 1]``.
    """
    offsets = np.empty(layouts[0].partition_count + 1, dtype=np.int64)
    offsets[0] = first_offset
    # Summing the offsets first needs no S × P array: the lengths of the sums are the sums of the lengths.
    total = layouts[0].offsets.copy()
    for layout in layouts[1:]:
        total += layout.offsets
    np.cumsum(np.diff(total), out=offsets[1:])
    offsets[1:] += first_offset
    return offsets
