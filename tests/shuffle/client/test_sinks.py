"""The checksum of a stream's ranges, as its bytes arrive."""

from __future__ import annotations

import pytest

from shuffle.client.sinks import RangesChecksum
from spill_format import ChecksumError
from spill_format.checksum import crc32c
from spill_format.messages import END_OF_STREAM

SCHEMA_MESSAGE = b"\xff\xff\xff\xff\x10\0\0\0" + bytes(range(16))
RANGES = bytes(range(256)) * 3


@pytest.mark.parametrize("ranges", [b"", RANGES])
@pytest.mark.parametrize("piece_bytes", [1, 3, 8, 24, 100, 10_000])
def test_the_pieces_that_a_stream_comes_in_do_not_matter(piece_bytes: int, ranges: bytes) -> None:
    stream = memoryview(SCHEMA_MESSAGE + ranges + END_OF_STREAM)
    checksum = RangesChecksum(len(stream))
    for start in range(0, len(stream), piece_bytes):
        checksum.update(stream[start : start + piece_bytes])
    checksum.check(crc32c(ranges), "x")
    assert checksum.start == len(SCHEMA_MESSAGE)
    with pytest.raises(ChecksumError):
        checksum.check(crc32c(ranges) ^ 1, "x")


def test_what_begins_with_no_message_has_no_ranges() -> None:
    checksum = RangesChecksum(100)
    checksum.update(memoryview(bytes(100)))
    assert checksum.start is None
