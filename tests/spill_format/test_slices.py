"""Where a sequence is cut into even parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spill_format.slices import even_cuts


@pytest.mark.parametrize(
    ("lengths", "part_count", "cuts"),
    [
        ([], 3, [0]),
        ([5], 3, [0, 1]),
        ([1, 1, 1, 1], 1, [0, 4]),
        ([1, 1, 1, 1], 2, [0, 2, 4]),
        ([1, 1, 1, 1], 4, [0, 1, 2, 3, 4]),
        ([1, 1, 1, 1], 9, [0, 1, 2, 3, 4]),
        ([100, 1, 1], 3, [0, 1, 3]),
        ([1, 1, 100], 2, [0, 2, 3]),
        ([6, 4, 4, 6], 2, [0, 2, 4]),
    ],
)
def test_cuts_are_at_the_nearest_borders(lengths: list[int], part_count: int, cuts: list[int]) -> None:
    assert even_cuts(np.cumsum([64, *lengths]), part_count) == cuts


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60), st.integers(1, 20))
def test_parts_tile_the_sequence_and_none_is_much_too_large(lengths: list[int], part_count: int) -> None:
    offsets = np.cumsum([64, *lengths])
    cuts = even_cuts(offsets, part_count)
    assert (cuts[0], cuts[-1]) == (0, len(lengths))
    assert all(first < last for first, last in pairwise(cuts))
    assert len(cuts) - 1 <= part_count
    largest = max(int(offsets[last] - offsets[first]) for first, last in pairwise(cuts))
    assert largest <= sum(lengths) / part_count + max(lengths) + 1
