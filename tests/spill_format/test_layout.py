"""What a layout accepts, what it refuses and why."""

from __future__ import annotations

import numpy as np
import pytest

from spill_format import PartitionLayout
from spill_format.layout import concatenate


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_a_layout_knows_its_lengths_and_sums() -> None:
    layout = PartitionLayout(i64(64, 128, 128, 256), i64(3, 0, 5), np.array([1, 0, 2], dtype=np.uint32))
    assert layout.partition_count == 3
    assert layout.lengths.tolist() == [64, 0, 128]
    assert layout.byte_count == 192
    assert layout.row_count == 8
    assert repr(layout) == "PartitionLayout(3 partitions, 8 rows, 192 bytes)"


def test_opaque_bytes_have_neither_rows_nor_checksums() -> None:
    layout = PartitionLayout(i64(0, 5))
    assert layout.row_count is None
    assert layout.crc32c is None
    assert repr(layout) == "PartitionLayout(1 partitions, 5 bytes)"


def test_rows_may_be_as_many_as_an_int64_can_count() -> None:
    assert PartitionLayout(i64(0, 8, 16), i64(2**62, 2**61)).row_count == 2**62 + 2**61


def test_the_arrays_cannot_be_changed() -> None:
    layout = PartitionLayout(i64(0, 5))
    with pytest.raises(ValueError, match="read-only"):
        layout.offsets[0] = 1


@pytest.mark.parametrize(
    ("offsets", "rows", "crc32c", "error", "message"),
    [
        ([0, 1], None, None, TypeError, "offsets must be a numpy array, not list"),
        (np.array([0, 1], dtype=np.int32), None, None, ValueError, "offsets must be int64, not int32"),
        (np.array([0, 1], dtype=">i8"), None, None, ValueError, "offsets must be int64, not >i8"),
        (i64(0), None, None, ValueError, r"offsets must be int64\[P \+ 1\] with P ≥ 1, not of shape \(1,\)"),
        (i64(0, 1).reshape(1, 2), None, None, ValueError, "not of shape"),
        (i64(0, 1), i64(1, 2), None, ValueError, r"rows must have one value for each of 1 partitions, not be .*\(2,\)"),
        (i64(0, 1), np.array(5), None, ValueError, r"not be of shape \(\)"),
        (i64(0, 1), None, i64(1), ValueError, "crc32c must be uint32, not int64"),
        (i64(-1, 1), None, None, ValueError, "partition 0: the first range starts before the file: .* found -1"),
        (i64(0, 9, 5), None, None, ValueError, "partition 1: the range ends before it starts: .*9 or more, found 5"),
        (i64(2**63 - 1, -(2**63)), None, None, ValueError, "partition 0: the range ends before it starts"),
        (i64(0, 8, 16), i64(1, -1), None, ValueError, "partition 1: the row count is negative"),
        (i64(0, 8, 8), i64(1, 1), None, ValueError, "partition 1: the range is empty but has rows"),
        (i64(0, 8, 16), i64(2**62, 2**62), None, ValueError, "partition 0: the row count is absurd"),
    ],
)
def test_what_is_no_layout_is_refused(
    offsets: np.ndarray, rows: np.ndarray, crc32c: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PartitionLayout(offsets, rows, crc32c)


def test_concatenating_one_layout_moves_it() -> None:
    assert concatenate([PartitionLayout(i64(64, 128, 128))], 8).tolist() == [8, 72, 72]


def test_concatenating_puts_partition_behind_partition() -> None:
    assert concatenate([PartitionLayout(i64(8, 9, 12)), PartitionLayout(i64(0, 4, 4))], 100).tolist() == [100, 105, 108]
