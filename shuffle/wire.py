"""What server and client say to each other beyond HTTP: headers, media types, and the frames of several answers in one.

Pure. The answer to a request for several places is ``multipart/mixed`` whose parts each have a ``Content-Length``, so
that a reader never has to look for the boundary.
"""
# PURE

from __future__ import annotations

import re
from typing import NamedTuple

STREAM_TYPE = "application/vnd.apache.arrow.stream"
CHECKSUM_HEADER = "Shuffle-CRC32C"
"""CRC-32C of the ranges, all that is between schema message and end-of-stream marker: eight hexadecimal digits."""
ROWS_HEADER = "Shuffle-Rows"
INCARNATION_HEADER = "Shuffle-Incarnation"
"""Which run of a server answers: sixteen hexadecimal digits, others after each start."""

BOUNDARY = "partitions-of-a-shuffle"
MULTIPART_TYPE = f"multipart/mixed; boundary={BOUNDARY}"
MULTIPART_END = f"\r\n--{BOUNDARY}--\r\n".encode()
MAXIMUM_PART_HEAD_BYTES = 8192

_PART_START = f"\r\n--{BOUNDARY}\r\n".encode()
_FIELD = re.compile(rb"([!-9;-~]+): ([ -~]*)\r\n")
_LENGTH = re.compile(r"[0-9]{1,19}")
"""With no more digits than sizes of files have: Python refuses to read a few thousand of them."""


class PartHead(NamedTuple):
    """What precedes each stream.

    Attributes:
        location: path of the place, percent-encoded, as it was asked for.
        byte_count: length of the stream.
        crc32c: of its ranges.
        entity_tag: by which the rest of it can be asked for, alone.
    """

    location: str
    byte_count: int
    crc32c: int
    entity_tag: str


def encode_part_head(head: PartHead) -> bytes:
    """What precedes a stream, the line break behind the stream before it included."""
    lines = (
        f"Content-Location: {head.location}",
        f"Content-Type: {STREAM_TYPE}",
        f"{CHECKSUM_HEADER}: {head.crc32c:08x}",
        f"ETag: {head.entity_tag}",
        f"Content-Length: {head.byte_count}",
    )
    return _PART_START + "".join(f"{line}\r\n" for line in lines).encode("ascii") + b"\r\n"


def clean_token(token: str | bytes) -> bytes:
    """The bytes of a bearer token, without white space around it.

    Raises:
        ValueError: the token is empty, or has white space in it.
    """
    stripped = (token.encode() if isinstance(token, str) else token).strip()
    if not stripped:
        raise ValueError("the token is empty, which protects nothing; None stands for no token")
    if len(stripped.split()) > 1 or not all(byte > 32 for byte in stripped):
        raise ValueError("the token has white space or control characters in it")
    return stripped


def decode_length(field: str) -> int:
    """The value of a ``Content-Length``.

    Raises:
        ValueError: it is none.
    """
    if _LENGTH.fullmatch(field) is None:
        raise ValueError(f"no length: {field[:60]!r}")
    return int(field)


def decode_part_head(encoded: bytes) -> PartHead:
    """The head whose bytes, up to the empty line that ends it, these are.

    Raises:
        ValueError: it is none.
    """
    fields = {name.decode(): value.decode() for name, value in _FIELD.findall(encoded)}
    if encoded.startswith(_PART_START):
        try:
            return PartHead(
                fields["Content-Location"],
                decode_length(fields["Content-Length"]),
                int(fields[CHECKSUM_HEADER], 16),
                fields["ETag"],
            )
        except (KeyError, ValueError) as error:
            raise ValueError(f"a part of the answer has no readable head: {encoded[:200]!r}") from error
    raise ValueError(f"no part of the answer starts with {encoded[:60]!r}")
