"""Answers that make no sense: whatever a server says, the error is of a known kind and names the place."""

from __future__ import annotations

import re

import pytest

from shuffle.client import FetchError, PartitionClient, Place
from shuffle.http_options import FetchOptions
from shuffle.wire import BOUNDARY, CHECKSUM_HEADER, MULTIPART_TYPE
from spill_format import SpillError
from tests.helpers.proxies import scripted_server

LENGTHS = ["", "0", "8", f"{10**17}", f"{2**63 - 1}", "9" * 19, "9" * 5000, "-1", "x"]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("status", ["200 OK", "206 Partial Content"])
def test_whatever_length_is_said_the_place_is_named(length: str, status: str) -> None:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {length}",
        f"Content-Range: bytes 0-{length}/{length}",
        "Shuffle-CRC32C: 00000001",
    ]
    answer = "\r\n".join([*lines, "", "12345678"]).encode()
    with (
        scripted_server([answer]) as url,
        PartitionClient(FetchOptions(backoff_seconds=0.001, attempts=2)) as client,
        pytest.raises((SpillError, FetchError, MemoryError), match=re.escape(f"{url}/a.arrow/partitions/3")),
    ):
        client.read(f"{url}/a.arrow", 3)


@pytest.mark.parametrize("length", LENGTHS)
def test_whatever_length_a_part_is_said_to_have_the_place_is_named(length: str) -> None:
    head = f"\r\n--{BOUNDARY}\r\nContent-Location: /a.arrow/partitions/3\r\nContent-Length: {length}\r\n"
    body = f'{head}{CHECKSUM_HEADER}: 00000001\r\nETag: "a"\r\n\r\n12345678'
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with (
        scripted_server([answer.encode()]) as url,
        PartitionClient(FetchOptions(backoff_seconds=0.001, attempts=2)) as client,
    ):
        places = [Place.of(f"{url}/a.arrow", 3), Place.of(f"{url}/a.arrow", 4)]
        for place, fetched in zip(places, client.read_many(places), strict=True):
            assert isinstance(fetched.error, SpillError | FetchError | MemoryError)
            assert place.url in str(fetched.error)
