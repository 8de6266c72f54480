"""The vector arithmetic against a plain transcription of the algorithm, byte by byte."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.arrays import murmur3


def reference_hash(data: bytes, seed: int) -> int:
    """Spark's hashUnsafeBytes in Python's integers."""
    whole = len(data) // 4 * 4
    words = [int.from_bytes(data[start : start + 4], "little") for start in range(0, whole, 4)]
    words += [byte if byte < 128 else byte - 256 for byte in data[whole:]]
    state = seed
    for word in words:
        mixed = word * 0xCC9E2D51 & 0xFFFFFFFF
        mixed = (mixed << 15 | mixed >> 17) * 0x1B873593 & 0xFFFFFFFF
        state ^= mixed
        state = ((state << 13 | state >> 19) & 0xFFFFFFFF) * 5 + 0xE6546B64 & 0xFFFFFFFF
    state ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = (state ^ state >> shift) * factor & 0xFFFFFFFF
    return state


def hash_all(values: list[bytes], seeds: list[int]) -> list[int]:
    lengths = np.array([len(value) for value in values], np.int64)
    hashes = np.array(seeds, np.uint32)
    data = np.frombuffer(b"".join(values), np.uint8)
    murmur3.hash_bytes(hashes, data, np.cumsum(lengths) - lengths, lengths)
    answers: list[int] = hashes.tolist()
    return answers


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2**32 - 1)), max_size=100))
def test_bytes_of_any_lengths_hash_as_one_by_one(rows: list[tuple[bytes, int]]) -> None:
    values, seeds = [value for value, _ in rows], [seed for _, seed in rows]
    assert hash_all(values, seeds) == [reference_hash(*row) for row in rows]


@pytest.mark.parametrize("length", range(13))
def test_values_of_one_length_hash_as_one_by_one(length: int) -> None:
    values = [random.Random(row).randbytes(length) for row in range(100)]
    assert hash_all(values, [42] * 100) == [reference_hash(value, 42) for value in values]


@pytest.mark.parametrize("long_count", [1, 2, 48, 49, 200])
def test_few_or_many_long_values_among_short_ones(long_count: int) -> None:
    source = random.Random(long_count)
    values = [source.randbytes(source.randint(0, 20)) for _ in range(300)]
    values += [source.randbytes(source.randint(200, 1100)) for _ in range(long_count)]
    source.shuffle(values)
    seeds = list(range(len(values)))
    assert hash_all(values, seeds) == [reference_hash(*row) for row in zip(values, seeds, strict=True)]


def test_a_value_longer_than_the_slices_it_is_hashed_in() -> None:
    values = [b"short", random.Random(0).randbytes((1 << 19) + 3), b""]
    assert hash_all(values, [42] * 3) == [reference_hash(value, 42) for value in values]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.integers(0, 2**32 - 1))
def test_integers_hash_as_their_little_endian_bytes(values: list[int], seed: int) -> None:
    longs = np.array(values, np.int64)
    hashes = np.full(len(values), seed, np.uint32)
    murmur3.hash_int64(hashes, longs)
    assert hashes.tolist() == [reference_hash((value % 2**64).to_bytes(8, "little"), seed) for value in values]
    hashes = np.full(len(values), seed, np.uint32)
    murmur3.hash_int32(hashes, longs.astype(np.int32))
    assert hashes.tolist() == [reference_hash((value % 2**32).to_bytes(4, "little"), seed) for value in values]


@pytest.mark.parametrize("position", range(13))
def test_words_at_the_end_of_the_data_are_filled_with_zeros(position: int) -> None:
    data = np.arange(1, 13, dtype=np.uint8)
    word = murmur3.gather_words(data, np.array([position]))[0]
    assert int(word).to_bytes(8, "little") == data.tobytes()[position : position + 8].ljust(8, b"\0")
