"""Sizes as people write them."""

import click
import pytest

from shuffle.cli.options import Size


@pytest.mark.parametrize(
    ("text", "byte_count"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("512B", 512),
        ("64KiB", 64 << 10),
        ("64 kib", 64 << 10),
        ("1MiB", 1 << 20),
        ("1GIB", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("0.5kib", 512),
        ("9007199254740993", 9007199254740993),
        (" 7 ", 7),
    ],
)
def test_a_size_is_bytes_or_takes_a_unit(text: str, byte_count: int) -> None:
    assert Size().convert(text, None, None) == byte_count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no size"),
        ("GiB", "no size"),
        ("-1", "no size"),
        ("1e9", "no size"),
        ("1GB", "KiB, MiB or GiB"),
        ("1 TiB", "KiB, MiB or GiB"),
        ("1,5GiB", "no size"),
        ("inf", "no size"),
        ("1MiB 5", "no size"),
        ("1.5", "no whole number of bytes"),
        ("0.3KiB", "no whole number of bytes"),
        ("1023", "too small: the least is 1024 bytes"),
    ],
)
def test_what_is_no_size_says_why(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        Size(minimum=1024).convert(text, None, None)
