"""How large partitions are, how unevenly, and in which order."""

import numpy as np
import pytest

from shuffle.inspecting.sizes import PartitionSizes, peaks


def sizes_of(*byte_counts: int) -> PartitionSizes:
    array = np.array(byte_counts, dtype=np.int64)
    return PartitionSizes(array, array // 2, (array > 0).astype(np.int64))


@pytest.mark.parametrize(
    ("byte_counts", "smallest", "median", "largest", "skew", "empty"),
    [
        ([10], 10, 10, 10, 1.0, 0),
        ([10, 20, 60], 10, 20, 60, 3.0, 0),
        ([0, 10, 20, 60], 0, 15, 60, 4.0, 1),
        ([0, 0, 0, 60], 0, 0, 60, None, 3),
    ],
)
def test_skew_is_the_largest_over_the_median(
    byte_counts: list[int], smallest: int, median: float, largest: int, skew: float | None, empty: int
) -> None:
    sizes = sizes_of(*byte_counts)
    assert (sizes.smallest_bytes, sizes.median_bytes, sizes.largest_bytes) == (smallest, median, largest)
    assert (sizes.skew, sizes.empty_count) == (skew, empty)


def test_order_is_by_number_or_the_largest_first_and_stable() -> None:
    sizes = sizes_of(5, 9, 5, 7)
    assert sizes.ordered("partition").tolist() == [0, 1, 2, 3]
    assert sizes.ordered("size").tolist() == [1, 3, 0, 2]
    assert sizes.ordered("rows").tolist() == [1, 3, 0, 2]
    assert sizes.ordered("batches").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("byte_counts", "gini"),
    [([7], 0), ([7, 7, 7, 7], 0), ([0, 0, 0, 8], 3 / 4), ([1, 3], 1 / 4), ([0, 0], None), ([2**55] * 100, 0)],
)
def test_gini_is_0_where_all_are_alike_and_near_1_where_one_has_everything(
    byte_counts: list[int], gini: float | None
) -> None:
    assert sizes_of(*byte_counts).gini == (None if gini is None else pytest.approx(gini, abs=1e-9))


@pytest.mark.parametrize(
    ("byte_counts", "skewed"),
    [([10, 10, 10, 49], []), ([10, 50, 10, 10, 90], [4, 1]), ([0, 0, 0, 10, 10, 50, 10], [5]), ([0, 0], [])],
)
def test_skewed_is_what_has_five_times_the_median_of_those_with_rows(byte_counts: list[int], skewed: list[int]) -> None:
    assert sizes_of(*byte_counts).skewed_partitions.tolist() == skewed


@pytest.mark.parametrize("count", [1, 3, 7, 64, 100])
def test_peaks_keep_the_largest_and_the_order(count: int) -> None:
    values = np.arange(100, dtype=np.int64)
    values[3] = 1000
    shown = peaks(values, count)
    assert len(shown) == count
    assert 1000 in shown
    assert np.flatnonzero(np.diff(shown) < 0).tolist() == np.flatnonzero(shown == 1000)[: count > 1].tolist()
    assert shown[-1] == (99 if count > 1 else 1000)


def test_few_values_are_their_own_peaks() -> None:
    assert peaks(np.array([3, 1, 2]), 5).tolist() == [3, 1, 2]
