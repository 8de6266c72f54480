"""Reads the bytes of ranges from files, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from shuffle.numbering import Numbers, numbers_within
from spill_format.errors import CorruptError
from spill_format.layout import Int64Array
from spill_format.storage.local import is_medium_error, read_exactly

PIECE_BYTES = 1 << 20  # stays in the cache until a checksum of it is computed


@contextmanager
def lost_bytes_are_damage(path: str, partition: int | None = None, offset: int | None = None) -> Iterator[None]:
    """Turn the error of a disk that lost bytes into a CorruptError; pass other errors on unchanged."""
    try:
        yield
    except OSError as error:
        if not is_medium_error(error):
            raise
        problem = f"bytes that the medium has lost ({error.strerror})"
        raise CorruptError(problem, path=path, partition=partition, offset=offset) from error


def read_pieces(descriptor: int, path: str, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Read the bytes of spans ``[start, stop)`` of an open file, up to a MiB at a time.

    Raises:
        TruncatedError: the file ends before a span does.
        OSError: the file cannot be read.
    """
    for start, stop in spans:
        for offset in range(start, stop, PIECE_BYTES):
            yield read_exactly(descriptor, offset, min(PIECE_BYTES, stop - offset), path)


def spans_of(offsets: Int64Array, numbers: Numbers | None, path: str, noun: str) -> list[tuple[int, int]]:
    """Return where the bytes of numbered parts, or of all parts, start and stop in a file.

    Raises:
        ValueError: there are no such parts.
    """
    found = numbers_within(numbers, len(offsets) - 1, path, noun)
    return [(int(offsets[each.start]), int(offsets[each.stop])) for each in found]


def refuse_chunks(chunks: Numbers | None, path: str) -> None:
    """Raise ValueError where chunks are asked for of a file without chunks."""
    if chunks is not None:
        raise ValueError(f"{path} has no chunks: only pushed partitions have them")
