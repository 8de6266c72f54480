"""Kinds of options: how sizes are read, and how keywords become an options object."""

import pytest

from shuffle import MapOptions, MergeOptions
from shuffle.option_kinds import options_of, parse_size


@pytest.mark.parametrize(
    ("size", "byte_count"),
    [
        ("0", 0),
        (2_000_000, 2_000_000),
        ("64KiB", 64 << 10),
        ("64 kib", 64 << 10),
        ("64M", 64 << 20),
        ("1g", 1 << 30),
        ("1GIB", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("0.5kib", 512),
        ("1t", 1 << 40),
        ("9007199254740993", 9007199254740993),
        (" 7 ", 7),
    ],
)
def test_a_size_is_a_number_or_text_with_a_unit(size: int | str, byte_count: int) -> None:
    assert parse_size(size) == byte_count


@pytest.mark.parametrize("size", ["", "GiB", "-1", "1e9", "1GB", "1,5GiB", "inf", "1MiB 5", "9" * 5000])
def test_other_text_is_not_a_size(size: str) -> None:
    with pytest.raises(ValueError, match="is not a size: give bytes, or a number with KiB, MiB, GiB or TiB"):
        parse_size(size)


@pytest.mark.parametrize("size", ["1.5", "0.3KiB"])
def test_a_size_is_a_whole_number_of_bytes(size: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number of bytes"):
        parse_size(size)


@pytest.mark.parametrize("size", ["64MB", 1.5, True, None])
def test_an_option_that_is_not_a_size_is_named(size: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"memory_bytes: .* is not a size"):
        MapOptions(memory_bytes=size)  # type: ignore[arg-type]


def test_options_are_an_object_or_keywords_or_both() -> None:
    options = MergeOptions(durable=True, threads=3)

    assert options_of(MergeOptions, None, {}) == MergeOptions()
    assert options_of(MergeOptions, None, {"threads": 3, "durable": True}) == options
    assert options_of(MergeOptions, options, {"threads": 4}) == MergeOptions(durable=True, threads=4)
    with pytest.raises(TypeError, match="options must be a MergeOptions, not MapOptions"):
        options_of(MergeOptions, MapOptions(), {})
