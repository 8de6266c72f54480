"""Which of Arrow's errors say that bytes cannot be decoded. That memory is lacking says nothing of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from .errors import REPAIR_ADVICE, CorruptError

UNDECODABLE = (pa.ArrowException, OSError, ValueError)
"""What Arrow raises for bytes that are none of its own: its own errors, OSError from decompression, ValueError from
names that are not UTF-8. Some are a ``MemoryError``, too, which is to be caught before."""

_ALLOCATION = re.compile(r"malloc of size (\d+) failed")
_LARGEST_RATIO = 1 << 16  # of a decompressed buffer to its message: zstd's run of 128 KiB takes 4 bytes


@contextmanager
def decoding(
    what: str, path: str, offset: int | None = None, partition: int | None = None, byte_count: int | None = None
) -> Iterator[None]:
    """Turn Arrow's errors within the block into CorruptError: ``what`` cannot be decoded.

    Args:
        what: is decoded, for the error.
        path, offset, partition: where it is, for the error.
        byte_count: of what is decoded. Who asks for more memory than that can decompress to is wrong, not short of it.

    Raises:
        CorruptError: the bytes cannot be decoded.
        MemoryError: memory is lacking.
    """
    try:
        yield
    except UNDECODABLE as error:
        if isinstance(error, MemoryError) and (byte_count is None or is_lack_of_memory(error, byte_count)):
            raise
        problem = f"{what} cannot be decoded ({error})"
        raise CorruptError(problem, path=path, partition=partition, offset=offset, advice=REPAIR_ADVICE) from error


def is_lack_of_memory(error: MemoryError, byte_count: int) -> bool:
    """Whether memory is lacking, rather than more asked for than ``byte_count`` bytes can decompress to."""
    asked = _ALLOCATION.search(str(error))
    return asked is None or int(asked[1]) <= byte_count * _LARGEST_RATIO
