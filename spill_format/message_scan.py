"""Whole record batch messages in a file that may be damaged anywhere, found by their seals (FORMAT.md section 10).

What a file says of itself elsewhere is ``salvage.py``'s business. Files are read, never mapped, one message at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .checksum import crc32c
from .index import SECTION_MAGIC
from .messages import (
    END_OF_STREAM,
    PREFIX_LENGTH,
    SEAL_LENGTH,
    SMALLEST_METADATA_LENGTH,
    find_body_defect,
    find_metadata_defect,
    metadata_length_of,
    read_batch_size,
    read_header_seal,
    read_seal,
    sealed_crc32c,
)
from .storage.local import read_around_faults

_WINDOW_BYTES = 1 << 20
_CONTINUATION_WORD = 0xFFFFFFFF


class FoundMessage(NamedTuple):
    """A message whose metadata has the checksum in its seal.

    Attributes:
        start: where it starts in the file.
        metadata_length, body_length: bytes, the metadata's with prefix and seal.
        partition, row_count: what it says of itself.
        is_whole: the body has the seal's checksum, too.
        metadata_crc32c: of the metadata, prefix and seal included.
        body_crc32c: of the body, as the seal has it.
    """

    start: int
    metadata_length: int
    body_length: int
    partition: int
    row_count: int
    is_whole: bool
    metadata_crc32c: int
    body_crc32c: int

    @property
    def content(self) -> tuple[int, ...]:
        """Equal for messages of equal bytes."""
        return self.metadata_length, self.body_length, self.metadata_crc32c, self.body_crc32c

    @property
    def stop(self) -> int:
        """Where the next message starts."""
        return self.start + self.metadata_length + self.body_length


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a file.

    Attributes:
        messages: ascending by their start; those that are not whole, too.
        ranges_end: where an end-of-stream marker shows that no message follows, or None.
        inner_ends: where messages are followed by such a marker, and later by further messages: ends of other files
            inside this one.
        header_ends: where sealed schema messages end, of other files inside this one.
    """

    messages: list[FoundMessage]
    ranges_end: int | None
    inner_ends: frozenset[int] = frozenset()
    header_ends: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class MessageReader:
    """Looks for messages in an open file; the descriptor is borrowed.

    Attributes:
        descriptor, path, byte_count: of the file.
        partition_count: P, or None where it is not known.
        is_decodable: given a message's bytes, whether Arrow decodes it under the file's schema.
        progress: told how many further bytes were looked at.
    """

    descriptor: int
    path: str
    byte_count: int
    partition_count: int | None
    is_decodable: Callable[[bytes], bool]
    progress: Callable[[int], None]

    def at(self, offset: int) -> FoundMessage | None:
        """The message that starts at ``offset``, or None where none of this file does whose metadata is sound."""
        metadata = self._metadata(offset)
        if metadata is None:
            return None
        seal = read_seal(metadata)
        if seal is None or find_metadata_defect(metadata, None) is not None:
            return None
        if self.partition_count is not None and seal.partition >= self.partition_count:
            return None
        try:
            row_count, body_length, _ = read_batch_size(metadata)
        except ValueError:
            return None
        is_whole = False
        if body_length <= self.byte_count - offset - len(metadata):
            body = self._read(offset + len(metadata), body_length)
            is_whole = find_body_defect(metadata, body) is None
            if is_whole and not self.is_decodable(metadata + body):
                return None  # of a file inside a value
        checksums = crc32c(metadata), seal.body_crc32c
        return FoundMessage(offset, len(metadata), body_length, seal.partition, row_count, is_whole, *checksums)

    def at_each(self, offsets: Iterable[int]) -> Iterator[FoundMessage]:
        """The messages at known places, as far as their metadata is sound."""
        for offset in offsets:
            message = self.at(offset)
            if message is not None:
                yield message
                self.progress(message.stop - message.start)

    def scan(self, start: int) -> Scan:
        """All messages from ``start`` on, where the first one should be."""
        found: list[FoundMessage] = []
        ends: list[int] = []
        headers: set[int] = set()
        position = start
        is_border = start > PREFIX_LENGTH  # of the header or of a message: only there is an end to be believed
        is_unbroken = is_border  # from the header on
        while True:
            message = self.at(position)
            if message is None:
                is_end = is_border and self._ends_at(position)
                if is_end and is_unbroken:
                    return Scan(found, position)
                is_unbroken = False
                message, ranges_end = self._next_after(position, headers)
                if message is None:
                    return Scan(found, position if is_end else ranges_end, frozenset(ends), frozenset(headers))
                if is_end:
                    ends.append(position)
            found.append(message)
            self.progress(message.metadata_length)
            # Where the body is damaged its end is a border all the same, unless bytes are missing.
            is_border = message.is_whole or self.at(message.stop) is not None or self._ends_at(message.stop)
            if is_border:
                position = message.stop
                self.progress(message.body_length)
            else:
                position = message.start + message.metadata_length

    def _metadata(self, offset: int) -> bytes | None:
        """The bytes of what may be a sealed message's metadata; the seal's magic is looked at before all the rest."""
        prefix = self._read(offset, PREFIX_LENGTH)
        try:
            length = metadata_length_of(prefix)
        except ValueError:
            return None
        if length < SMALLEST_METADATA_LENGTH or length > self.byte_count - offset:
            return None
        seal = self._read(offset + length - SEAL_LENGTH, SEAL_LENGTH)
        if read_seal(bytes(SMALLEST_METADATA_LENGTH - SEAL_LENGTH) + seal) is None:
            return None
        return self._read(offset, length)

    def _next_after(self, position: int, headers: set[int]) -> tuple[FoundMessage | None, int | None]:
        """The next message behind ``position``; or none, and where an end-of-stream marker with an index behind it
        is. Ends of sealed schema messages before the next message are added to ``headers``."""
        ranges_end = None
        for candidate in self._candidates(position + 8):
            message = self.at(candidate)
            if message is not None:
                return message, None
            if (header_end := self._header_end(candidate)) is not None:
                headers.add(header_end)
            if self._read(candidate, 16) == END_OF_STREAM + SECTION_MAGIC:
                ranges_end = candidate  # the last one, since a file inside a value has such an end, too
        return None, ranges_end

    def _header_end(self, offset: int) -> int | None:
        """Where the schema message at ``offset`` ends, or None where there is none with a right seal."""
        try:
            length = metadata_length_of(self._read(offset, PREFIX_LENGTH))
        except ValueError:
            return None
        if not SMALLEST_METADATA_LENGTH <= length <= self.byte_count - offset:
            return None
        seal = self._read(offset + length - SEAL_LENGTH, SEAL_LENGTH)
        if read_header_seal(bytes(SMALLEST_METADATA_LENGTH - SEAL_LENGTH) + seal) is None:
            return None
        message = self._read(offset, length)
        seal_found = read_header_seal(message)
        return offset + length if seal_found and seal_found.metadata_crc32c == sealed_crc32c(message) else None

    def _ends_at(self, position: int) -> bool:
        return self._read(position, len(END_OF_STREAM)) == END_OF_STREAM

    def _candidates(self, start: int) -> Iterator[int]:
        """Multiples of 8 from ``start`` on where a prefix or an end-of-stream marker may be."""
        for offset in range(start, self.byte_count, _WINDOW_BYTES):
            window = self._read(offset, _WINDOW_BYTES)
            words = np.frombuffer(window, dtype="<u8", count=len(window) // 8)
            lengths = words >> 32
            possible = (words & _CONTINUATION_WORD == _CONTINUATION_WORD) & (lengths < 1 << 31) & (lengths & 7 == 0)
            for number in np.flatnonzero(possible).tolist():
                yield offset + 8 * number
            self.progress(len(window))

    def _read(self, offset: int, byte_count: int) -> bytes:
        """Bytes from ``offset``, fewer at the end of the file."""
        return read_around_faults(self.descriptor, offset, max(min(byte_count, self.byte_count - offset), 0), self.path)


def ascending(messages: list[FoundMessage]) -> list[FoundMessage]:
    """The most messages whose partitions never decrease; the others are not where they were written, or belong to a
    file inside a value.

    Patience sorting: the last message of each best sequence so far, and for each message the one before it.
    """
    smallest_ends: list[int] = []
    end_numbers: list[int] = []
    before: list[int] = []
    for number, message in enumerate(messages):
        length = bisect_right(smallest_ends, message.partition)
        before.append(end_numbers[length - 1] if length else -1)
        smallest_ends[length : length + 1] = [message.partition]
        end_numbers[length : length + 1] = [number]
    chosen = []
    number = end_numbers[-1] if end_numbers else -1
    while number >= 0:
        chosen.append(messages[number])
        number = before[number]
    return chosen[::-1]
