"""Kinds of options: how sizes are read, and how keywords become an options object."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import shuffle
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


SCHEMA = pa.schema([("key", pa.int64())])
BY_KEY = shuffle.HashPartitioner(["key"], 2)
untyped: Any = shuffle


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: untyped.merge(5, "x"), "sources takes several, in a list: not 5"),
        (lambda: untyped.merge("a.arrow", "x"), "sources takes several, in a list: not 'a.arrow'"),
        (lambda: untyped.merge(["a.arrow"], "x", "auto"), "options must be a MergeOptions, not 'auto'"),
        (lambda: untyped.read_partition("a.arrow", 0), "files takes several, in a list: not 'a.arrow'"),
        (lambda: untyped.read_partition([], 0, threads="4"), "threads must be a whole number, not '4'"),
        (
            lambda: untyped.MapWriter("x", SCHEMA, BY_KEY, spill_directories=5),
            "spill_directories takes several, in a list",
        ),
        (
            lambda: untyped.MapWriter("x", SCHEMA, BY_KEY, spill_directories=[5]),
            "spill_directories must be a path, not 5",
        ),
        (lambda: untyped.MapWriter("x", SCHEMA, BY_KEY, alignment=None), "alignment: None is not a size"),
        (lambda: untyped.HashPartitioner(5, 2), "columns takes several, in a list: not 5"),
        (lambda: untyped.partition_files(None, "x", 2, by="key"), "inputs takes several, in a list: not None"),
        (lambda: untyped.partition_files("a.csv", "x", "2", by="key"), "partitions must be a whole number, not '2'"),
        (lambda: untyped.partition_files("a.csv", "x", 2, by=5), "by takes several, in a list: not 5"),
        (lambda: untyped.partition_files("a.csv", "x", 2, range=5), "range takes several, in a list: not 5"),
        (
            lambda: untyped.partition_files("a.csv", "x", 2, by="key", columns="key"),
            "columns takes several, in a list: not 'key'",
        ),
        (lambda: untyped.partition_files("a.csv", "x", 2, by="key", csv={}), "csv must be CsvOptions, not {}"),
        (lambda: untyped.CsvOptions(types=5), "types must be a mapping of columns to types, not 5"),
        (lambda: untyped.CsvOptions(delimiter=None), "delimiter must be text, not None"),
        (lambda: untyped.CsvOptions(nulls=None), "nulls takes several, in a list: not None"),
        (lambda: untyped.ServeOptions(token=5), "token must be text, not 5"),
        (lambda: untyped.ServeOptions(certificate=5), "certificate must be a path, not 5"),
    ],
)
def test_an_argument_of_another_type_gets_a_sentence(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        call()
