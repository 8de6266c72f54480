"""Writes seeds for the corpus, from golden and forged files: ``python -m tests.fuzz.seeds DIRECTORY``.

Of these, and of what long runs found, ``python -m tests.fuzz TARGET -merge=1`` keeps what reaches something new.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pyroaring import BitMap

from spill_format.messages import END_OF_STREAM
from tests.faults.test_corrupt_files import STRUCTURE
from tests.fuzz.targets import answered
from tests.golden.write import HERE
from tests.helpers.anatomy import Anatomy
from tests.helpers.spills import write_sample

RANGES = [b"one", b"", b"and three"]


def main() -> None:
    """Write each seed under the name of its content."""
    for kind, content in seeds():
        directory = Path(sys.argv[1], kind)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / hashlib.sha1(content, usedforsecurity=False).hexdigest()).write_bytes(content)


def seeds() -> Iterator[tuple[str, bytes]]:
    """The kind and the content of each seed."""
    golden = [Anatomy.of(path) for path in sorted(HERE.glob("*.arrow"))]
    with TemporaryDirectory() as directory:
        sample = Anatomy.of(write_sample(Path(directory) / "sample.spill.arrow"))
    for sound in golden:
        yield "file", sound.raw
        stream = sound.raw[8 : sound.marker] + END_OF_STREAM
        yield "stream", stream
        yield "answer", answered(stream)
    for _, damage, *_ in STRUCTURE:
        yield "file", damage(sample)
    yield "answer", b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 5\r\n\r\nlater"
    yield "answer", b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nab"
    yield "answer", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\nno such file"
    ends = [sum(map(len, RANGES[:number])) for number in range(len(RANGES) + 1)]
    checksums = struct.pack(f">{len(RANGES)}q", *map(zlib.adler32, RANGES))
    yield "spark", in_sections(struct.pack(f">{len(ends)}q", *ends), checksums, b"".join(RANGES))
    yield "spark", in_sections(struct.pack(">qq", 0, 4), b"", b"data")
    chunks = [([0, 2], RANGES[0]), ([1, 70_000], RANGES[2])]
    meta = b"".join(BitMap(maps, optimize=False).serialize() for maps, _ in chunks)
    yield "pushed", in_sections(struct.pack(">qqq", 0, 3, 12), meta, RANGES[0] + RANGES[2])
    yield "pushed", in_sections(struct.pack(">qq", 0, 3), BitMap(range(9)).serialize(), RANGES[0])


def in_sections(first: bytes, second: bytes, rest: bytes) -> bytes:
    """Three files as one input."""
    return struct.pack(">HH", len(first), len(second)) + first + second + rest


if __name__ == "__main__":
    main()
