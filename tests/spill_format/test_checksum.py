"""Checksums against published vectors, and against zlib for another polynomial."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from spill_format.checksum import advance, append, concatenate, crc32c, mask, unmask

ZLIB = 0xEDB88320


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720, appendix B.4
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_vectors(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@pytest.mark.parametrize(("data", "masked"), [(b"", 0xA282EAD8), (b"123456789", 0xC78AB0E5)])
def test_masked_vectors(data: bytes, masked: int) -> None:
    assert mask(crc32c(data)) == masked
    assert unmask(masked) == crc32c(data)


def test_plainly_stored_checksums_would_hide_what_they_cover_and_masked_ones_do_not() -> None:
    def followed_by(data: bytes, checksum: int) -> int:
        return crc32c(data + checksum.to_bytes(4, "little"))

    assert followed_by(b"one", crc32c(b"one")) == followed_by(b"two", crc32c(b"two"))
    assert followed_by(b"one", mask(crc32c(b"one"))) != followed_by(b"two", mask(crc32c(b"two")))


@pytest.mark.parametrize("byte_count", [0, 1, 15, 16, 255, 4096, 1_000_003])
def test_advancing_is_appending_to_the_data(byte_count: int) -> None:
    behind = b"x" * byte_count
    (advanced,) = advance(np.array([crc32c(b"data")], dtype=np.uint32), np.array([byte_count], dtype=np.int64))
    assert int(advanced) ^ crc32c(behind) == crc32c(b"data" + behind)


def test_advancing_by_exabytes_ends() -> None:
    checksums = np.array([1], dtype=np.uint32)
    halves = advance(advance(checksums, np.array([2**62], dtype=np.int64)), np.array([2**62 - 1], dtype=np.int64))
    assert halves.tolist() == advance(checksums, np.array([2**63 - 1], dtype=np.int64)).tolist()


def test_any_reflected_polynomial_combines() -> None:
    parts = [b"abc", b"", b"defgh" * 1000, b"i"]
    combined = concatenate(
        np.array([zlib.crc32(part) for part in parts], dtype=np.uint32),
        np.array([len(part) for part in parts], dtype=np.int64),
        np.array([4], dtype=np.int64),
        ZLIB,
    )
    assert combined.tolist() == [zlib.crc32(b"".join(parts))]


def test_more_parts_than_one_block_combine() -> None:
    parts = [bytes([number % 251]) * (number % 7) for number in range(70_000)]
    checksums = np.array([crc32c(part) for part in parts], dtype=np.uint32)
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    groups = np.array([0, 40_000, 0, 29_999, 1, 0], dtype=np.int64)
    expected = [b"", b"".join(parts[:40_000]), b"", b"".join(parts[40_000:69_999]), parts[69_999], b""]
    assert concatenate(checksums, lengths, groups).tolist() == [crc32c(data) for data in expected]
    assert concatenate(checksums[:0], lengths[:0], groups[:1]).tolist() == [0]


def test_what_is_appended_to_many_at_once() -> None:
    pairs = [(b"", b""), (b"a", b""), (b"", b"b"), (b"one", b"two" * 100)]
    appended = append(
        np.array([crc32c(first) for first, _ in pairs], dtype=np.uint32),
        np.array([crc32c(second) for _, second in pairs], dtype=np.uint32),
        np.array([len(second) for _, second in pairs], dtype=np.int64),
    )
    assert appended.tolist() == [crc32c(first + second) for first, second in pairs]
