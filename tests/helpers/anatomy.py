"""The places of a file's parts, computed from FORMAT.md's tables and not by the code under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c

SUMMARY_LENGTH = 80


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
        summary = footer - SUMMARY_LENGTH
        section_length, partition_count, batch_count = struct.unpack_from("<QQQ", raw, summary + 16)
        index = footer - section_length
        entries = struct.iter_unpack("<qqII", raw[index + 8 : index + 8 + 24 * (partition_count + 1)])
        return cls(raw, tuple(entry[0] for entry in entries), batch_count, index, footer)

    @property
    def partition_count(self) -> int:
        return len(self.offsets) - 1

    @property
    def marker(self) -> int:
        return self.offsets[-1]

    @property
    def summary(self) -> int:
        return self.footer - SUMMARY_LENGTH

    @property
    def membership(self) -> int:
        return self.summary - 32

    @property
    def messages(self) -> int:
        return self.index + 8 + 24 * (self.partition_count + 1)

    @property
    def details(self) -> int:
        return self.messages + 12 * self.batch_count

    @property
    def template(self) -> int:
        return self.details + 4 * len(self._blocks())

    def of_partition(self, partition: int, field: str) -> int:
        """Where a field of a partition's entry is."""
        return self.index + 8 + 24 * partition + {"offset": 0, "rows": 8, "first_message": 16, "crc32c": 20}[field]

    def of_message(self, message: int, field: str) -> int:
        """Where a field of a message's entry is."""
        return self.messages + 12 * message + {"body_length": 0, "metadata_length": 8}[field]

    def _blocks(self) -> list[tuple[int, int]]:
        blocks = []
        for start, stop, length in (
            (self.index + 8, self.messages, 24 * 2048),
            (self.messages, self.details, 12 * 4096),
        ):
            blocks += [(block, min(block + length, stop)) for block in range(start, stop, length)]
        return blocks

    def patched(self, offset: int, replacement: bytes) -> bytes:
        """The file with other bytes at ``offset``, from the end where that is negative."""
        offset %= len(self.raw)
        return self.raw[:offset] + replacement + self.raw[offset + len(replacement) :]

    def patched_index(self, offset: int, replacement: bytes) -> bytes:
        """The same within the index section, whose checksums are made to fit: a lie, not damage."""
        patched = bytearray(self.patched(offset, replacement))
        for number, (start, stop) in enumerate(self._blocks()):
            struct.pack_into("<I", patched, self.details + 4 * number, crc32c(patched[start:stop]))
        struct.pack_into("<I", patched, self.summary + 68, crc32c(patched[self.details : self.membership]))
        struct.pack_into("<I", patched, self.footer - 4, crc32c(patched[self.summary : self.footer - 4]))
        return bytes(patched)

    def spliced(self, start: int, end: int, replacement: bytes = b"") -> bytes:
        """The file with the bytes of ``[start, end)`` replaced by more, or fewer."""
        return self.raw[:start] + replacement + self.raw[end:]
