"""Spark's own layout: opaque ranges in ``X.data``, back to back, and their P + 1 offsets in ``X.index``.

Read from Spark's IndexShuffleBlockResolver: the index is big-endian int64, without magic, version or checksum. So all
that can be checked is checked, also what Spark does not look at.
"""

from __future__ import annotations

import os
from os import PathLike

import numpy as np

from spill_format.errors import CorruptError, TruncatedError
from spill_format.layout import Int64Array, PartitionLayout, find_defect

DATA_SUFFIX = ".data"
INDEX_SUFFIX = ".index"


def index_path_of(data_path: str | PathLike[str]) -> str:
    """The index that belongs to a data file.

    Raises:
        ValueError: the name does not end with ``.data``.
    """
    path = os.fspath(data_path)
    if not path.endswith(DATA_SUFFIX):
        raise ValueError(f"the name of a data file in Spark's layout ends with {DATA_SUFFIX}: {path}")
    return path.removesuffix(DATA_SUFFIX) + INDEX_SUFFIX


def read_layout(index_path: str | PathLike[str], data_bytes: int) -> PartitionLayout:
    """The layout that an index file gives a data file of ``data_bytes``; rows and checksums are not known.

    Raises:
        TruncatedError: the index is cut off, or the data file is shorter than the index says.
        CorruptError: the offsets do not start at 0, decrease, or end before the data file does.
        OSError: the index cannot be read.
    """
    with open(index_path, "rb") as file:
        content = file.read()
    if len(content) < 16 or len(content) % 8:
        raise TruncatedError(
            "length of the index",
            path=index_path,
            expected="8 bytes for each of two or more offsets",
            actual=len(content),
        )
    offsets: Int64Array = np.frombuffer(content, dtype=">i8").astype(np.int64)
    if offsets[0] != 0:
        raise CorruptError(
            "the first offset of the index", path=index_path, offset=0, expected=0, actual=int(offsets[0])
        )
    if (defect := find_defect(offsets, None)) is not None:
        raise CorruptError(
            f"the index says that {defect.problem}",
            path=index_path,
            partition=defect.partition,
            offset=8 * (defect.partition + 1),
            expected=defect.expected,
            actual=defect.actual,
        )
    if offsets[-1] != data_bytes:
        kind = TruncatedError if data_bytes < offsets[-1] else CorruptError
        raise kind(
            "the data file's size differs from the last offset of its index",
            path=index_path,
            offset=len(content) - 8,
            expected=data_bytes,
            actual=int(offsets[-1]),
        )
    return PartitionLayout(offsets)


def encode_index(offsets: Int64Array) -> bytes:
    """The bytes of an index with these offsets, ``int64[P + 1]``, the first of them 0."""
    return offsets.astype(">i8").tobytes()
