"""Murmur3 (x86, 32 bits) over numpy arrays, as Spark computes it: one running hash a row, changed in place.

Arithmetic only: what a value's words are, and which rows are null, is decided by the caller. Rows should come in
blocks that fit the processor's cache together with a few temporaries (some 16 Ki rows), which is twice as fast
as whole batches.
"""
# PURE

from __future__ import annotations

import numpy as np
import numpy.typing as npt

UInt32s = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_C1, _C2 = 0xCC9E2D51, 0x1B873593
_MASK = 0xFFFFFFFF

# A step over few rows costs numpy's calls (about 20 µs for two words), whatever their number; the same two words cost a
# plain Python loop 0.3 µs a row.
_FEW_ROWS = 48


def hash_int32(hashes: UInt32s, values: npt.NDArray[np.int32] | UInt32s) -> None:
    """Fold one 4-byte value a row into the hashes."""
    _mix_word(hashes, values.view(np.uint32))
    _finish(hashes, np.uint32(4))


def hash_int64(hashes: UInt32s, values: Int64s | npt.NDArray[np.uint64]) -> None:
    """Fold one 8-byte value a row into the hashes, low word first."""
    words = np.ascontiguousarray(values).view(np.uint32)
    _mix_word(hashes, words[0::2])
    _mix_word(hashes, words[1::2])
    _finish(hashes, np.uint32(8))


def hash_bytes(hashes: UInt32s, data: Bytes, starts: Int64s, lengths: Int64s) -> None:
    """Fold the bytes ``data[start:start + length]`` of each row into the hashes.

    Spark's variant: little-endian words of four bytes, then each byte left over is a word of its own, sign-extended.
    Rows are taken in order of their word counts, so that step k acts on a contiguous rest of them.
    """
    if len(data) < 8:  # so that a gather of eight bytes has somewhere to be
        data = np.concatenate([data, np.zeros(8, np.uint8)])
    word_counts = lengths >> 2
    if len(word_counts) and word_counts.min() == word_counts.max():
        _mix_words(hashes, data, starts, word_counts)
    else:
        order = np.argsort(word_counts.astype(np.min_scalar_type(word_counts.max(initial=0))), kind="stable")
        ordered = hashes[order]
        _mix_words(ordered, data, starts[order], word_counts[order])
        hashes[order] = ordered
    _mix_tails(hashes, data, starts + (word_counts << 2), lengths & 3)
    _finish(hashes, lengths.astype(np.uint32))


def gather_words(data: Bytes, positions: Int64s) -> npt.NDArray[np.uint64]:
    """The eight bytes of ``data``, at least eight long, at each position, as little-endian uint64.

    Where fewer are left, the missing ones are zero; a position may be ``len(data)`` at most.
    """
    # A view in which every byte starts a word; no position is aligned, and x86 and ARM do not mind.
    words: npt.NDArray[np.uint64] = np.ndarray((len(data) - 7,), "<u8", np.ascontiguousarray(data), 0, (1,))
    last = len(data) - 8
    if positions.max(initial=0) <= last:
        return words[positions]
    clipped = np.minimum(positions, last)
    # Shifting 64 bits out gives zero in numpy, whatever the processor does.
    return words[clipped] >> ((positions - clipped).astype(np.uint64) << np.uint64(3))


def _mix_words(hashes: UInt32s, data: Bytes, starts: Int64s, word_counts: Int64s) -> None:
    """Fold whole words in; word counts ascend."""
    step = 0
    while (first := int(np.searchsorted(word_counts, step, side="right"))) < len(hashes):
        if len(hashes) - first <= _FEW_ROWS and int(word_counts[-1]) - step > 2:
            for row in range(first, len(hashes)):
                position = int(starts[row])
                rest = data[position + 4 * step : position + 4 * int(word_counts[row])]
                hashes[row] = _mix_one_row(int(hashes[row]), rest)
            return
        words = gather_words(data, starts[first:] + 4 * step).view(np.uint32)
        _mix_word(hashes[first:], words[0::2])
        longer = int(np.searchsorted(word_counts, step + 1, side="right"))
        _mix_word(hashes[longer:], words[2 * (longer - first) + 1 :: 2])
        step += 2


def _mix_one_row(state: int, data: Bytes) -> int:
    """The same for one long row, whose words follow each other and so defeat vectors; in slices, to bound memory."""
    for start in range(0, len(data), 1 << 18):
        words = np.frombuffer(data[start : start + (1 << 18)].tobytes(), "<u4") * np.uint32(_C1)
        _rotate_left(words, 15)
        words *= np.uint32(_C2)
        for word in words.tolist():
            state ^= word
            state = (((state << 13) | (state >> 19)) * 5 + 0xE6546B64) & _MASK
    return state


def _mix_tails(hashes: UInt32s, data: Bytes, positions: Int64s, byte_counts: Int64s) -> None:
    """Fold the 0 to 3 bytes at each position in, each a signed word."""
    most, least = byte_counts.max(initial=0), byte_counts.min(initial=3)
    if most == 0:
        return
    tails = gather_words(data, positions).astype(np.uint32)
    for step in range(int(most)):
        words = (tails << np.uint32(24 - 8 * step)).view(np.int32) >> np.int32(24)
        if step < least:
            _mix_word(hashes, words.view(np.uint32))
        else:
            mixed = hashes.copy()
            _mix_word(mixed, words.view(np.uint32))
            np.copyto(hashes, mixed, where=byte_counts > step)


def _mix_word(hashes: UInt32s, words: UInt32s) -> None:
    mixed = words * np.uint32(_C1)
    scratch = np.empty_like(mixed)
    _rotate_left(mixed, 15, scratch)
    mixed *= np.uint32(_C2)
    hashes ^= mixed
    _rotate_left(hashes, 13, scratch)
    hashes *= np.uint32(5)
    hashes += np.uint32(0xE6546B64)


def _finish(hashes: UInt32s, byte_counts: np.uint32 | UInt32s) -> None:
    """Avalanche; the length goes in, so that a value and the same with zeros appended differ."""
    hashes ^= byte_counts
    scratch = hashes >> np.uint32(16)
    hashes ^= scratch
    hashes *= np.uint32(0x85EBCA6B)
    np.right_shift(hashes, np.uint32(13), out=scratch)
    hashes ^= scratch
    hashes *= np.uint32(0xC2B2AE35)
    np.right_shift(hashes, np.uint32(16), out=scratch)
    hashes ^= scratch


def _rotate_left(words: UInt32s, bits: int, scratch: UInt32s | None = None) -> None:
    high = np.right_shift(words, np.uint32(32 - bits), out=scratch)
    np.left_shift(words, np.uint32(bits), out=words)
    words |= high
