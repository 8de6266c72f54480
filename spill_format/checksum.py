"""CRC-32C of bytes, and of a concatenation from the checksums of its parts.

Pure, and the only place that knows polynomials. A CRC is linear: the checksum of ``A + B`` is that of A, advanced over
as many zero bytes as B has, XOR that of B. Advancing is a 32 × 32 matrix over GF(2) (zlib's ``crc32_combine`` describes
it); here it is applied to whole arrays by table look-ups, four for each hexadecimal digit of the distance.
"""
# PURE

from __future__ import annotations

from functools import cache

import numpy as np
from crc32c import crc32c

from .layout import Int64Array, UInt32Array

__all__ = ["CASTAGNOLI", "advance", "append", "concatenate", "crc32c", "mask", "unmask"]

CASTAGNOLI = 0x82F63B78
"""The polynomial of CRC-32C, bits reflected."""

_MASK_DELTA = 0xA282EAD8
_BLOCK_ELEMENTS = 1 << 15  # intermediate arrays of 256 KiB stay in the second-level cache


def advance(checksums: UInt32Array, byte_counts: Int64Array, polynomial: int = CASTAGNOLI) -> UInt32Array:
    """The share of each checksum in that of a concatenation which has ``byte_counts`` bytes behind its data.

    Args:
        checksums: ``uint32[N]``.
        byte_counts: ``int64[N]``, none negative.
        polynomial: reflected; CRC-32C's unless told.

    Returns:
        ``uint32[N]``, a new array.
    """
    advanced = np.array(checksums, dtype=np.uint32)
    for start in range(0, len(advanced), _BLOCK_ELEMENTS):
        block = advanced[start : start + _BLOCK_ELEMENTS]
        remaining: Int64Array = byte_counts[start : start + _BLOCK_ELEMENTS]
        exponent = 0
        while remaining.any():
            _apply(block, _operators(polynomial, exponent), (remaining & 15) << 10)
            remaining = remaining >> 4
            exponent += 1
    return advanced


def append(checksums: UInt32Array, further: UInt32Array, further_lengths: Int64Array) -> UInt32Array:
    """The checksums of pairs of byte strings, one behind the other, from the checksums of both and the second's length.

    Args:
        checksums, further: ``uint32[N]``, of the first and the second of each pair.
        further_lengths: ``int64[N]``, bytes of the second.

    Returns:
        ``uint32[N]``, a new array.
    """
    return advance(checksums, further_lengths) ^ further


def concatenate(
    checksums: UInt32Array, lengths: Int64Array, part_counts: Int64Array, polynomial: int = CASTAGNOLI
) -> UInt32Array:
    """The checksums of G concatenations from those of their parts.

    Args:
        checksums, lengths: checksum and byte length of each part, ``uint32[N]`` and ``int64[N]``, those of the first
            concatenation first.
        part_counts: ``int64[G]``, how many parts each concatenation has (0 is allowed); their sum is N.

    Returns:
        ``uint32[G]``; 0 for a concatenation of nothing.
    """
    combined = np.zeros(len(part_counts), dtype=np.uint32)
    filled = part_counts > 0
    if not filled.any():
        return combined
    part_ends = np.cumsum(part_counts)
    byte_ends = np.cumsum(lengths)
    bytes_behind = np.repeat(byte_ends[part_ends[filled] - 1], part_counts[filled]) - byte_ends
    advanced = advance(checksums, bytes_behind, polynomial)
    combined[filled] = np.bitwise_xor.reduceat(advanced, (part_ends - part_counts)[filled])
    return combined


def mask(checksum: int) -> int:
    """A checksum as it is stored inside bytes that are themselves checksummed; LevelDB's rotation and constant.

    The CRC of bytes followed by their own CRC is the same number whatever the bytes are.
    """
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The checksum that ``mask`` was given."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated << 15) | (rotated >> 17)) & 0xFFFFFFFF


def _apply(checksums: UInt32Array, operator: UInt32Array, first_index: Int64Array | int) -> None:
    """Multiply each checksum, in place, by the matrix whose 4 × 256 table starts at ``first_index`` of ``operator``."""
    product = operator[first_index + (checksums & 255)]
    for byte in range(1, 4):
        product ^= operator[first_index + (byte << 8) + ((checksums >> (8 * byte)) & 255)]
    checksums[:] = product


@cache
def _operators(polynomial: int, exponent: int) -> UInt32Array:
    """The matrices that advance over 0, 1 … 15 times 16**exponent zero bytes, ``uint32[16 * 4 * 256]``."""
    identity = (np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, np.newaxis]).ravel()
    step = identity.copy()
    if exponent == 0:
        for _ in range(8):
            step = np.where(step & 1, (step >> 1) ^ np.uint32(polynomial), step >> 1)
    else:
        smaller = _operators(polynomial, exponent - 1)
        step = smaller[15 << 10 :].copy()
        _apply(step, smaller[1 << 10 : 2 << 10], 0)
    operators = [identity]
    for _ in range(15):
        product = operators[-1].copy()
        _apply(product, step, 0)
        operators.append(product)
    return np.concatenate(operators)
