"""Outputs in Spark's layout for tests, made and read by nothing but the layout's definition."""

import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from crc32c import crc32c
from pyroaring import BitMap

from spill_format.range_checksums import ALGORITHMS

FUNCTIONS: dict[str, Callable[[bytes], int]] = {"ADLER32": zlib.adler32, "CRC32": zlib.crc32, "CRC32C": crc32c}
assert list(FUNCTIONS) == list(ALGORITHMS)


def write_spark(data: Path, ranges: Sequence[bytes], algorithm: str | None = "ADLER32") -> Path:
    """An output, as Spark writes it; without a data file where there are no bytes."""
    ends = [sum(map(len, ranges[:number])) for number in range(len(ranges) + 1)]
    data.with_suffix(".index").write_bytes(struct.pack(f">{len(ends)}q", *ends))
    if algorithm is not None:
        values = [FUNCTIONS[algorithm](each) for each in ranges]
        checksum_file(data, algorithm).write_bytes(struct.pack(f">{len(values)}q", *values))
    if ends[-1]:
        data.write_bytes(b"".join(ranges))
    return data


def checksum_file(data: Path, algorithm: str = "ADLER32") -> Path:
    return data.with_suffix(f".checksum.{algorithm}")


def ranges_of_spark(data: Path) -> list[bytes]:
    """The bytes of each partition."""
    content = data.read_bytes() if data.exists() else b""
    index = data.with_suffix(".index").read_bytes()
    offsets = struct.unpack(f">{len(index) // 8}q", index)
    assert offsets[0] == 0
    assert offsets[-1] == len(content)
    return [content[start:end] for start, end in pairwise(offsets)]


def assert_spark_output(data: Path, ranges: Sequence[bytes], algorithm: str | None = "ADLER32") -> None:
    """The three files are exactly those of an output with these ranges; no other file of its name is there."""
    assert ranges_of_spark(data) == list(ranges)
    expected = {data.name, f"{data.stem}.index"}
    if algorithm is not None:
        values = [FUNCTIONS[algorithm](each) for each in ranges]
        assert checksum_file(data, algorithm).read_bytes() == struct.pack(f">{len(values)}q", *values)
        expected.add(checksum_file(data, algorithm).name)
    assert {path.name for path in data.parent.iterdir() if path.name.startswith((f"{data.stem}.", "."))} == expected


def write_pushed(data: Path, chunks: Sequence[tuple[Sequence[int], bytes]]) -> Path:
    """A merged partition of the push-based layout: chunks, each of some maps."""
    ends = [sum(len(content) for _, content in chunks[:number]) for number in range(len(chunks) + 1)]
    data.write_bytes(b"".join(content for _, content in chunks))
    data.with_suffix(".index").write_bytes(struct.pack(f">{len(ends)}q", *ends))
    data.with_suffix(".meta").write_bytes(b"".join(BitMap(maps, optimize=False).serialize() for maps, _ in chunks))
    return data
