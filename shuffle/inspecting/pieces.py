"""Ranges as they are in their files, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spill_format.errors import CorruptError
from spill_format.layout import Int64Array
from spill_format.storage.local import is_medium_error, read_exactly

PIECE_BYTES = 1 << 20  # stays in the cache until a checksum of it is computed


@contextmanager
def lost_bytes_are_damage(path: str, partition: int | None = None, offset: int | None = None) -> Iterator[None]:
    """Turn the error of a medium that has lost bytes into a CorruptError; other errors say nothing about the file."""
    try:
        yield
    except OSError as error:
        if not is_medium_error(error):
            raise
        problem = f"bytes that the medium has lost ({error.strerror})"
        raise CorruptError(problem, path=path, partition=partition, offset=offset) from error


def read_pieces(descriptor: int, path: str, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of ``[start, stop)`` of an open file, up to a MiB at a time.

    Raises:
        TruncatedError: the file ends before them.
        OSError: it cannot be read.
    """
    for offset in range(start, stop, PIECE_BYTES):
        yield read_exactly(descriptor, offset, min(PIECE_BYTES, stop - offset), path)


def within(
    offsets: Int64Array, numbers: tuple[int, int] | None, chunks: tuple[int, int] | None, path: str
) -> tuple[int, int]:
    """Where the bytes of some partitions, or of all, start and stop in a file without chunks.

    Raises:
        ValueError: there are no such partitions, or chunks are asked for.
    """
    if chunks is not None:
        raise ValueError(f"{path} has no chunks: only pushed partitions have them")
    return span_of(offsets, numbers, path, "partition")


def span_of(offsets: Int64Array, numbers: tuple[int, int] | None, path: str, noun: str) -> tuple[int, int]:
    """Where the bytes of numbered parts, ``[start, stop)`` or all, start and stop in a file.

    Raises:
        ValueError: there are no such parts.
    """
    count = len(offsets) - 1
    start, stop = numbers or (0, count)
    if not 0 <= start <= stop <= count:
        there = f"its {noun}s are 0 to {count - 1}" if count else "it has none"
        raise ValueError(f"{path} has no {noun} {max(start, count)}: {there}")
    return int(offsets[start]), int(offsets[stop])
