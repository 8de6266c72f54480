"""Numbers of partitions as people write them."""

import pytest

from shuffle.numbering import Numbers, is_among, numbers_within, parse_numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [(3, 4)]),
        ("3-6", [(3, 7)]),
        ("8-", [(8, None)]),
        ("3,5,8-", [(3, 4), (5, 6), (8, None)]),
        ("8-,5, 3", [(3, 4), (5, 6), (8, None)]),
        ("2-4,4-9,10,11-", [(2, None)]),
        ("5-,3-9", [(3, None)]),
    ],
)
def test_numbers_are_pairs_apart_from_each_other(text: str, numbers: Numbers) -> None:
    assert list(parse_numbers(text)) == numbers


@pytest.mark.parametrize("text", ["", "-", "-3", "3--6", "3,", "x", "3-6-9", "1.5", "²"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a chunk, as 3, nor several, as 3-6, 8- or 3,5,8-"):
        parse_numbers(text, "chunk")


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="'6-3' ends before it starts"):
        parse_numbers("1,6-3")


@pytest.mark.parametrize(
    ("text", "found"), [("1-2", [range(1, 3)]), ("0,3-", [range(1), range(3, 5)]), ("4", [range(4, 5)])]
)
def test_numbers_mean_what_there_is(text: str, found: list[range]) -> None:
    numbers = parse_numbers(text)
    assert numbers_within(numbers, 5, "a.arrow") == found
    assert [number for number in range(5) if is_among(number, numbers)] == [n for each in found for n in each]


@pytest.mark.parametrize("text", ["5", "3-5", "7-", "0,9"])
def test_a_number_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a\.arrow has no partition [579]: its partitions are 0 to 4"):
        numbers_within(parse_numbers(text), 5, "a.arrow")
    assert numbers_within(None, 0, "a.arrow") == [range(0)]
