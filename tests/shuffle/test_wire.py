"""The frames of several answers in one."""

from __future__ import annotations

import pytest

from shuffle.wire import MULTIPART_END, PartHead, decode_part_head, encode_part_head


@pytest.mark.parametrize(
    "head", [PartHead("/a.arrow/partitions/3", 0, 0, '"a-1"'), PartHead("/%20", 2**62, 0xFFFFFFFF, '""')]
)
def test_a_part_head_comes_back(head: PartHead) -> None:
    encoded = encode_part_head(head)
    assert encoded.endswith(b"\r\n\r\n")
    assert decode_part_head(encoded) == head


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\r\n\r\n",
        MULTIPART_END,
        encode_part_head(PartHead("/x", 1, 1, "x"))[2:],
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\r\n--partitions-of-a-shuffle\r\nContent-Length: x\r\n\r\n",
        encode_part_head(PartHead("/x", -5, 1, "x")),
        encode_part_head(PartHead("/x", 10**19, 1, "x")),
    ],
)
def test_other_bytes_are_no_part_head(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="part of the answer"):
        decode_part_head(encoded)
