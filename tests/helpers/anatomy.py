"""The places of a file's parts, computed from FORMAT.md's tables and not by the code under test."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c


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
