"""Streams in memory: what is checked before they are decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from crc32c import crc32c

from spill_format import ChecksumError, CorruptError, SpillFile, TruncatedError
from spill_format.stream import check_ranges, decode_stream, ranges_within
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import write_sample


@pytest.fixture
def sample(verified_dir: Path) -> tuple[Path, bytes, bytes]:
    """A file, its partitions 0 to 2 as a stream, and these partitions' bytes."""
    path = write_sample(verified_dir / "sample.arrow")
    anatomy = Anatomy.of(path)
    ranges = anatomy.raw[anatomy.offsets[0] : anatomy.offsets[3]]
    return path, anatomy.raw[8 : anatomy.offsets[3]] + b"\xff\xff\xff\xff\0\0\0\0", ranges


def test_a_stream_is_what_the_file_holds(sample: tuple[Path, bytes, bytes]) -> None:
    path, stream, ranges = sample
    assert ranges_within(stream, "x") == ranges
    check_ranges(ranges, crc32c(ranges), "x")
    with SpillFile(path) as spill:
        assert decode_stream(stream, "x") == spill.read(0, 3)
        assert decode_stream(stream, "x", ["s"]) == spill.read(0, 3, columns=["s"])


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda stream: stream[:0], CorruptError, "not an Arrow stream"),
        (lambda stream: b"<html>" + stream, CorruptError, "not an Arrow stream"),
        (lambda stream: stream[:-1], TruncatedError, "no end-of-stream marker"),
        (lambda stream: stream[:50], TruncatedError, "no end-of-stream marker"),
    ],
)
def test_what_is_no_stream_is_refused(
    sample: tuple[Path, bytes, bytes], damage: Callable[[bytes], bytes], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"http://x.*{message}"):
        ranges_within(damage(sample[1]), "http://x")


def test_other_bytes_are_a_checksum_error(sample: tuple[Path, bytes, bytes]) -> None:
    with pytest.raises(ChecksumError, match="http://x, partition 3: CRC-32C of the 4 bytes that arrived"):
        check_ranges(b"abcd", 1, "http://x", 3)
