"""Checksums of a concatenation follow from those of its parts, for each algorithm that Spark has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spill_format.range_checksums import ALGORITHMS, RangeChecksums, combine
from tests.helpers.spark_files import FUNCTIONS


@pytest.mark.parametrize("name", ALGORITHMS)
@given(parts=st.lists(st.lists(st.binary(max_size=300), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_checksums_of_a_merge_are_those_of_its_bytes(name: str, parts: list[list[bytes]]) -> None:
    checksum = FUNCTIONS[name]
    recorded = [
        RangeChecksums(ALGORITHMS[name], np.array([checksum(each) for each in part], dtype=np.uint32)) for part in parts
    ]
    lengths = [np.array([len(each) for each in part], dtype=np.int64) for part in parts]

    merged = [b"".join(ranges) for ranges in zip(*parts, strict=True)]
    assert combine(recorded, lengths).values.tolist() == [checksum(each) for each in merged]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_checksums_of_large_ranges_of_large_bytes_combine(name: str) -> None:
    first, second = b"\xff" * 3_000_000, b"\xfe" * 5_000_001
    checksum = FUNCTIONS[name]
    one, other = (np.array([checksum(each)], dtype=np.uint32) for each in (first, second))

    combined = ALGORITHMS[name].append(one, other, np.array([len(second)], dtype=np.int64))
    assert combined.tolist() == [checksum(first + second)]
    assert combined.dtype == np.uint32


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_and_updates_are_as_the_reference_has_them(name: str) -> None:
    algorithm = ALGORITHMS[name]

    assert algorithm.of_nothing == FUNCTIONS[name](b"")
    assert algorithm.update(b"cd", algorithm.update(b"ab", algorithm.of_nothing)) == FUNCTIONS[name](b"abcd")
