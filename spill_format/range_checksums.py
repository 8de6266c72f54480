"""The checksums that Spark records: ADLER32, CRC32, CRC32C; of bytes, and of concatenations from their parts.

Pure. Polynomials and their arithmetic are ``checksum.py``'s; files are ``spark.py``'s.
"""
# PURE

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .checksum import CASTAGNOLI, advance, crc32c
from .layout import Int64Array, UInt32Array

_ETHERNET = 0xEDB88320  # the polynomial of zlib's CRC-32, bits reflected
_ADLER_MODULUS = 65521


@dataclass(frozen=True, slots=True)
class ChecksumAlgorithm:
    """One way to compute a checksum of 32 bits.

    Attributes:
        name: as Spark writes it behind ``.checksum.``.
        of_nothing: the checksum of no bytes.
        update: the checksum of data ``d1 + d2`` from ``d2`` and the checksum of ``d1``.
        append: the checksums of pairs ``d1 + d2`` from those of ``d1``, ``uint32[N]``, those of ``d2``, ``uint32[N]``,
            and the bytes of ``d2``, ``int64[N]``; a new array.
    """

    name: str
    of_nothing: int
    update: Callable[[bytes | bytearray | memoryview, int], int]
    append: Callable[[UInt32Array, UInt32Array, Int64Array], UInt32Array]


@dataclass(frozen=True, slots=True, eq=False)
class RangeChecksums:
    """What was recorded of the ranges of one file: ``values`` is ``uint32[P]``, one for each partition."""

    algorithm: ChecksumAlgorithm
    values: UInt32Array


def combine(parts: Sequence[RangeChecksums], lengths: Sequence[Int64Array]) -> RangeChecksums:
    """The checksums of a merge, without reading a byte of it.

    Args:
        parts: those of the sources, in the order of the merge; at least one; all of one algorithm.
        lengths: of each source's ranges in bytes, ``int64[P]``.
    """
    algorithm = parts[0].algorithm
    values = parts[0].values
    for part, part_lengths in zip(parts[1:], lengths[1:], strict=True):
        values = algorithm.append(values, part.values, part_lengths)
    return RangeChecksums(algorithm, values)


def append_adler32(checksums: UInt32Array, further: UInt32Array, further_lengths: Int64Array) -> UInt32Array:
    """See ``ChecksumAlgorithm.append``.

    Adler-32 is two sums modulo 65521 (RFC 1950): one plus the bytes, and the values that this takes byte after byte.
    Behind other data each of the latter is larger by that data's sum.
    """
    byte_sums = (checksums & 0xFFFF).astype(np.int64) - 1
    low = (byte_sums + (further & 0xFFFF)) % _ADLER_MODULUS
    high = (byte_sums * (further_lengths % _ADLER_MODULUS) + (checksums >> 16) + (further >> 16)) % _ADLER_MODULUS
    combined: UInt32Array = (high << 16 | low).astype(np.uint32)
    return combined


def _append_crc(
    checksums: UInt32Array, further: UInt32Array, further_lengths: Int64Array, *, polynomial: int
) -> UInt32Array:
    return advance(checksums, further_lengths, polynomial) ^ further


ALGORITHMS = {
    algorithm.name: algorithm
    for algorithm in (
        ChecksumAlgorithm("ADLER32", 1, zlib.adler32, append_adler32),
        ChecksumAlgorithm("CRC32", 0, zlib.crc32, partial(_append_crc, polynomial=_ETHERNET)),
        ChecksumAlgorithm("CRC32C", 0, crc32c, partial(_append_crc, polynomial=CASTAGNOLI)),
    )
}
"""By name, Spark's default first."""
CRC32C = ALGORITHMS["CRC32C"]
