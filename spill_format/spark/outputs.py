"""Spark's own layout: opaque ranges in ``X.data``, their P + 1 offsets in ``X.index``, P checksums in ``X.checksum.*``.

Read from Spark's IndexShuffleBlockResolver: all numbers are big-endian int64, without magic or version. So all that can
be checked is checked, also what Spark does not look at. ``discovery.py`` finds files, ``publication.py`` publishes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from typing import TypeVar

import numpy as np

from spill_format.errors import CorruptError, SpillError, TruncatedError
from spill_format.layout import Int64Array, PartitionLayout, find_defect
from spill_format.range_checksums import ALGORITHMS, ChecksumAlgorithm, RangeChecksums
from spill_format.storage.identity import FileIdentity
from spill_format.storage.local import check_regular, open_regular
from spill_format.storage.publication import is_there

DATA_SUFFIX = ".data"
INDEX_SUFFIX = ".index"
CHECKSUM_SUFFIX = ".checksum"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """The files of one output. They lie in one directory, or in Spark's hashed subdirectories.

    Attributes:
        data: its name, whether it is there or not: Spark writes none where all partitions are empty.
        index: the same.
        checksum: None where there is none.
    """

    data: str
    index: str
    checksum: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SparkOutput:
    """What the files of a map output, or of a merge of several, say of it.

    Attributes:
        paths: its files.
        layout: the ranges of its partitions; rows are not known.
        checksums: what was recorded of the ranges' bytes, or None.
        status: of the data file when its layout was read; None where all partitions are empty and there is none.
    """

    paths: OutputPaths
    layout: PartitionLayout
    checksums: RangeChecksums | None
    status: os.stat_result | None


def index_path_of(data_path: str | PathLike[str]) -> str:
    """Return the path of the index that belongs to a data file.

    Raises:
        ValueError: the name does not end with ``.data``.
    """
    return _stem_of(data_path) + INDEX_SUFFIX


def checksum_path_of(data_path: str | PathLike[str], algorithm: ChecksumAlgorithm) -> str:
    """Return the path of the checksums that belong to a data file; ValueError as for ``index_path_of``."""
    return f"{_stem_of(data_path)}{CHECKSUM_SUFFIX}.{algorithm.name}"


def paths_beside(data_path: str | PathLike[str]) -> OutputPaths:
    """Return the files of an output that lie beside its data file; ValueError as for ``index_path_of``."""
    candidates = (checksum_path_of(data_path, algorithm) for algorithm in ALGORITHMS.values())
    checksum = next((path for path in candidates if is_there(path)), None)
    return OutputPaths(os.fspath(data_path), index_path_of(data_path), checksum)


def read_output(paths: OutputPaths) -> SparkOutput:
    """Read and check all that an output says of itself; not a byte of its ranges is read.

    Where the output is being replaced meanwhile, this is the old one or the new one, never a mixture: the data file is
    looked at before the index and after it, and a writer of ours never shows an index with other data.

    Raises:
        TruncatedError: the index or the checksums are cut off, or the data file is missing or shorter than the index
            says.
        CorruptError: data without an index, offsets that do not start at 0, decrease, or end before the data file
            does, or numbers that are no checksums, or too many.
        FileNotFoundError: neither data nor index is there.
        OSError: a file cannot be read.
    """
    return read_settled(paths.data, lambda status: _read_once(paths, status))


def read_settled(data_path: str, read: Callable[[os.stat_result | None], T]) -> T:
    """Read the files of an output, again where another data file has taken the first one's place meanwhile.

    Args:
        data_path: of the output.
        read: is told the status of the data file, None where there is none. Called again where that has changed.

    Raises:
        SpillError: what has the name of the data file is a device, pipe or socket.
        OSError: it cannot be looked at.
        As ``read`` does.
    """
    while True:
        status = _status_of(data_path)
        try:
            result = read(status)
        except (SpillError, FileNotFoundError):
            if _identity(status) == _identity(_status_of(data_path)):
                raise
        else:
            if _identity(status) == _identity(_status_of(data_path)):
                return result


def read_companion(path: str | PathLike[str]) -> bytes:
    """Read the bytes of a file that lies beside data.

    Raises:
        SpillError: it is a device, pipe or socket.
        OSError: it cannot be read.
    """
    with open(open_regular(path), "rb") as file:
        return file.read()


def read_offsets(index_path: str | PathLike[str]) -> Int64Array:
    """Read the offsets in an index, ``int64[P + 1]``: from 0 on, never decreasing.

    Raises:
        TruncatedError: the index is cut off.
        CorruptError: the offsets do not start at 0, or decrease.
        OSError: the index cannot be read.
    """
    content = read_companion(index_path)
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
    return offsets


def read_checksums(checksum_path: str | PathLike[str], partition_count: int) -> RangeChecksums:
    """Read the checksums in a file whose name ends with their algorithm.

    Raises:
        TruncatedError: there are fewer than partitions.
        CorruptError: there are more, a number has more than 32 bits, or the algorithm is none of Spark's.
        OSError: the file cannot be read.
    """
    name = os.fspath(checksum_path).rpartition(".")[2]
    if name not in ALGORITHMS:
        raise CorruptError(
            "the algorithm of its checksums",
            path=checksum_path,
            expected=f"one of {', '.join(ALGORITHMS)}",
            actual=name,
        )
    content = read_companion(checksum_path)
    if len(content) != 8 * partition_count:
        kind = TruncatedError if len(content) < 8 * partition_count else CorruptError
        raise kind(
            f"bytes for the checksums of {partition_count} partitions",
            path=checksum_path,
            expected=8 * partition_count,
            actual=len(content),
        )
    values = np.frombuffer(content, dtype=">i8").astype(np.int64)
    if (wide := (values < 0) | (values >> 32 != 0)).any():
        partition = int(np.argmax(wide))
        raise CorruptError(
            "a number that is no checksum",
            path=checksum_path,
            partition=partition,
            offset=8 * partition,
            expected="0 to 2**32 - 1",
            actual=int(values[partition]),
        )
    return RangeChecksums(ALGORITHMS[name], values.astype(np.uint32))


def encode_index(offsets: Int64Array) -> bytes:
    """Encode an index with these offsets, ``int64[P + 1]``, the first of them 0."""
    return offsets.astype(">i8").tobytes()


def encode_checksums(checksums: RangeChecksums) -> bytes:
    """Encode a file of these checksums."""
    return checksums.values.astype(">i8").tobytes()


def _read_once(paths: OutputPaths, status: os.stat_result | None) -> SparkOutput:
    try:
        offsets = read_offsets(paths.index)
    except FileNotFoundError as error:
        if status is not None:
            raise CorruptError("data without an index: of an output that was not finished", path=paths.data) from error
        raise FileNotFoundError(errno.ENOENT, "neither data nor index is there", paths.data) from error
    _check_size(paths, int(offsets[-1]), status)
    checksums = None if paths.checksum is None else read_checksums(paths.checksum, len(offsets) - 1)
    return SparkOutput(paths, PartitionLayout(offsets), checksums, status)


def _check_size(paths: OutputPaths, expected: int, status: os.stat_result | None) -> None:
    if status is None and expected > 0:
        raise TruncatedError(
            "the index has no data file", path=paths.index, expected=f"{paths.data} of {expected} bytes", actual="none"
        )
    if status is not None and status.st_size != expected:
        kind = TruncatedError if status.st_size < expected else CorruptError
        raise kind(
            "size of the data file, which is the last offset of its index",
            path=paths.data,
            expected=expected,
            actual=status.st_size,
        )


def _status_of(path: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        status = os.stat(path)
        check_regular(status, path)
        return status
    return None


def _identity(status: os.stat_result | None) -> FileIdentity | None:
    return None if status is None else FileIdentity.of(status)


def _stem_of(data_path: str | PathLike[str]) -> str:
    path = os.fspath(data_path)
    if not path.endswith(DATA_SUFFIX):
        raise ValueError(f"the name of a data file in Spark's layout ends with {DATA_SUFFIX}: {path}")
    return path.removesuffix(DATA_SUFFIX)
