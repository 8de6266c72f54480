"""Sets of spills: which of how many a file is, so that nobody takes some of a map task's spills for all of them.

Pure. FORMAT.md section 6.3 is the byte layout. The field has a checksum of its own, since it is written into finished
files: a map task knows only at its end how many spills it has.
"""
# PURE

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from .checksum import crc32c
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, MismatchError

if TYPE_CHECKING:
    from os import PathLike

    Path = str | PathLike[str] | None

SPILL_PATTERN = ".spill.arrow"
"""What the names of spills end with; a directory is searched for it."""

_MEMBERSHIP = struct.Struct("<16sII4xI")
MEMBERSHIP_LENGTH = _MEMBERSHIP.size
_CHECKSUM_LENGTH = 4


class SpillSet(NamedTuple):
    """A file's membership in a set.

    Attributes:
        identity: 16 bytes, the same in all files of a set and in no other; not all zero.
        number: which of them this is, from 0.
        total: how many there are.
    """

    identity: bytes
    number: int
    total: int


class MissingSpills(NamedTuple):
    """An incomplete set: the files that are there, how many there should be, and the first number that is missing."""

    paths: list[str]
    total: int
    first_missing: int

    def error(self) -> MismatchError:
        """An error that names the first file: without the missing spills, rows of a map task would be lost."""
        there = f"{len(self.paths)} {'is' if len(self.paths) == 1 else 'are'} here"
        return MismatchError(
            f"this file belongs to the {self.total} spills of a map task, of which {there}: "
            f"number {self.first_missing} is missing, counted from 0",
            path=self.paths[0],
            advice="wait for the map task to end, or give all of its spills",
        )


def encode_membership(spill_set: SpillSet) -> bytes:
    """The 32 bytes to be written at ``Summary.membership_offset`` of a finished file.

    Raises:
        ValueError: the identity is not 16 bytes, or only zeroes; the number is not below the total.
    """
    identity, number, total = spill_set
    if len(identity) != 16 or not any(identity):
        raise ValueError(f"a set of spills is identified by 16 bytes that are not all zero, not by {identity.hex(' ')}")
    if not 0 <= number < total < 1 << 32:
        raise ValueError(f"spill {number} of {total} does not exist: they are counted from 0")
    unchecked = _MEMBERSHIP.pack(identity, number, total, 0)[:-_CHECKSUM_LENGTH]
    return unchecked + crc32c(unchecked).to_bytes(_CHECKSUM_LENGTH, "little")


def decode_membership(raw: bytes, path: Path = None, offset: int | None = None) -> SpillSet | None:
    """The set that a file belongs to, or None where the field is zero.

    Raises:
        ChecksumError: the field is damaged.
        CorruptError: its number is not below its total.
    """
    if not any(raw):
        return None
    identity, number, total, recorded = _MEMBERSHIP.unpack(raw)
    if (computed := crc32c(raw[:-_CHECKSUM_LENGTH])) != recorded:
        raise ChecksumError(
            "CRC-32C of the set membership",
            path=path,
            offset=offset,
            expected=f"{recorded:08x}",
            actual=f"{computed:08x}",
            advice=REPAIR_ADVICE,
        )
    if number >= total:
        problem = "number of the spill in its set"
        raise CorruptError(problem, path=path, offset=offset, expected=f"below {total}", actual=number)
    return SpillSet(identity, number, total)


def find_missing(members: Iterable[tuple[str, SpillSet | None]]) -> list[MissingSpills]:
    """The sets of which files are missing, given the paths and sets of all files that are there.

    Files of no set are complete in themselves. A file that is given twice counts once.
    """
    found: dict[tuple[bytes, int], dict[int, str]] = {}
    for path, spill_set in members:
        if spill_set is not None:
            found.setdefault((spill_set.identity, spill_set.total), {})[spill_set.number] = path
    return [
        MissingSpills(list(paths.values()), total, next(number for number in range(total) if number not in paths))
        for (_, total), paths in found.items()
        if len(paths) < total
    ]
