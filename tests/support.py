"""What tests of partitioned files share: small files of known content, and the places of their parts.

The places are computed from FORMAT.md's tables, not by the code under test.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from crc32c import crc32c

from shuffle.testing import write_spill
from spill_format import SpillFile

FLAT_SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])


def flat_batch(row_count: int, first: int = 0) -> pa.RecordBatch:
    """Rows of ``FLAT_SCHEMA``, numbered from ``first``, a null among them where there are three."""
    numbers = range(first, first + row_count)
    return pa.record_batch([list(numbers), [None if n % 3 == 2 else f"row {n}" for n in numbers]], schema=FLAT_SCHEMA)


def write_file(
    path: Path,
    partitions: Mapping[int, Sequence[pa.RecordBatch]],
    partition_count: int,
    schema: pa.Schema = FLAT_SCHEMA,
    compression: str | None = None,
    alignment: int = 64,
) -> Path:
    """A file with these record batches in these partitions."""
    return write_spill(
        partitions,
        path,
        schema=schema,
        partition_count=partition_count,
        compression=compression,
        alignment=alignment,
    )


def write_sample(path: Path) -> Path:
    """Four partitions: two batches, none, one, and none at the end; eight rows."""
    return write_file(path, {0: [flat_batch(3), flat_batch(1, 3)], 2: [flat_batch(4, 4)]}, 4)


def read_everything(path: Path) -> pa.Table:
    """Open, verify, read all partitions and validate each value."""
    with SpillFile(path) as spill:
        spill.verify()
        table = spill.read(0, spill.partition_count)
    table.validate(full=True)
    return table


@dataclass(frozen=True)
class Anatomy:
    """The bytes of a sound file, and where its parts are (FORMAT.md sections 2, 6 and 7)."""

    raw: bytes
    offsets: Sequence[int]
    batch_count: int
    index: int
    footer: int

    @classmethod
    def of(cls, path: Path) -> Anatomy:
        return cls.cut(path.read_bytes())

    @classmethod
    def cut(cls, raw: bytes) -> Anatomy:
        (footer_length,) = struct.unpack_from("<i", raw, len(raw) - 10)
        footer = len(raw) - 10 - footer_length
        note = re.search(rb'\{"version":"1\.0","offset":([0-9]+)', raw[footer:])
        assert note is not None
        index = int(note[1])
        partition_count, batch_count = struct.unpack_from("<QQ", raw, index + 24)
        offsets = struct.unpack_from(f"<{partition_count + 1}q", raw, index + 48)
        return cls(raw, offsets, batch_count, index, footer)

    @property
    def partition_count(self) -> int:
        return len(self.offsets) - 1

    @property
    def marker(self) -> int:
        return self.offsets[-1]

    def array(self, name: str) -> int:
        """Where an array of the index section starts."""
        position = self.index + 48
        for field, element_count, element_length in (
            ("offsets", self.partition_count + 1, 8),
            ("rows", self.partition_count, 8),
            ("body_lengths", self.batch_count, 8),
            ("crc32c", self.partition_count, 4),
            ("metadata_lengths", self.batch_count, 4),
        ):
            if field == name:
                return position
            position += element_count * element_length
        assert name == "footer_template"
        return position

    def patched(self, offset: int, replacement: bytes) -> bytes:
        """The file with other bytes at ``offset``, from the end where that is negative."""
        offset %= len(self.raw)
        return self.raw[:offset] + replacement + self.raw[offset + len(replacement) :]

    def patched_index(self, offset: int, replacement: bytes) -> bytes:
        """The same within the index section, whose checksum is made to fit: a lie, not damage."""
        patched = bytearray(self.patched(offset, replacement))
        patched[self.footer - 4 : self.footer] = struct.pack("<I", crc32c(patched[self.index : self.footer - 4]))
        return bytes(patched)

    def spliced(self, start: int, end: int, replacement: bytes = b"") -> bytes:
        """The file with the bytes of ``[start, end)`` replaced by more, or fewer."""
        return self.raw[:start] + replacement + self.raw[end:]
