"""Numbers as people read them."""

import pytest

from shuffle.wording import as_ranges, sparkline


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1, 2, 5, 7, 8], "0-2, 5, 7-8"),
        (list(range(1000)), "0-999"),
        ([0, 2, 4], "0, 2, 4"),
        ([0, 2, 4, 6], "0, 2, 4, …"),
        ([0, 2, 4, 5], "0, 2, 4-5"),
    ],
)
def test_runs_of_numbers_are_put_together(numbers: list[int], words: str) -> None:
    assert as_ranges(numbers, at_most=3) == words


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([0, 0], "  "), ([0, 1, 8], " ▁█"), ([1, 10**15], "▁█"), ([5, 5], "██"), ([1, 2, 3, 4], "▂▄▆█")],
)
def test_only_nothing_is_a_blank_in_a_line_of_bars(values: list[int], bars: str) -> None:
    assert sparkline(values) == bars
