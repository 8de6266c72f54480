"""What can be found out about partitioned files without decoding a row: sizes, skew, codecs, damage.

Nothing here prints, and nothing needs pyarrow. File contents are read, never mapped: a disk that fails under a memory
map kills the process, here it is an error that names file and place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np

from spill_format.errors import CorruptError, SpillError
from spill_format.framing import FILE_START, MAGIC, read_codec
from spill_format.index import PartitionIndex
from spill_format.layout import Int64Array
from spill_format.structure import FileStructure, read_exactly, read_structure

Order = Literal["partition", "size", "rows", "batches"]

_READ_BYTES = 1 << 20  # at once; stays in the cache until its checksum is computed
_CODEC_SAMPLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class PartitionSizes:
    """How large partitions are, in one file or in several together.

    Attributes:
        byte_counts, row_counts, batch_counts: each ``int64[P]``.
    """

    byte_counts: Int64Array
    row_counts: Int64Array
    batch_counts: Int64Array

    @property
    def partition_count(self) -> int:
        """P."""
        return len(self.byte_counts)

    @property
    def byte_count(self) -> int:
        """Bytes of all ranges together."""
        return int(self.byte_counts.sum())

    @property
    def row_count(self) -> int:
        """Rows of all partitions together."""
        return int(self.row_counts.sum())

    @property
    def batch_count(self) -> int:
        """Record batches of all partitions together."""
        return int(self.batch_counts.sum())

    @property
    def empty_count(self) -> int:
        """Partitions without rows."""
        return int(np.count_nonzero(self.byte_counts == 0))

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the smallest partition, 0 where one is empty."""
        return int(self.byte_counts.min())

    @property
    def median_bytes(self) -> float:
        """Half of the partitions, empty ones included, have at most so many bytes."""
        return float(np.median(self.byte_counts))

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest partition."""
        return int(self.byte_counts.max())

    @property
    def skew(self) -> float | None:
        """The largest partition over the median one; None where that is 0."""
        return self.largest_bytes / self.median_bytes if self.median_bytes else None

    def ordered(self, order: Order) -> Int64Array:
        """The partitions' numbers, ``int64[P]``: ascending, or the largest first; equal ones in ascending order."""
        if order == "partition":
            return np.arange(self.partition_count)
        keys = {"size": self.byte_counts, "rows": self.row_counts, "batches": self.batch_counts}[order]
        return np.argsort(-keys, kind="stable")

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "partition_count": self.partition_count,
            "row_count": self.row_count,
            "batch_count": self.batch_count,
            "range_bytes": self.byte_count,
            "empty_partition_count": self.empty_count,
            "smallest_bytes": self.smallest_bytes,
            "median_bytes": self.median_bytes,
            "largest_bytes": self.largest_bytes,
            "skew": self.skew,
        }

    def partitions_as_dicts(self, partitions: Int64Array) -> list[dict[str, int]]:
        """Single partitions as JSON has them."""
        columns = [partitions, *(a[partitions] for a in (self.row_counts, self.byte_counts, self.batch_counts))]
        names = ("partition", "row_count", "byte_count", "batch_count")
        return [dict(zip(names, values, strict=True)) for values in zip(*(c.tolist() for c in columns), strict=True)]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileInspection:
    """What a sound file says of itself.

    Attributes:
        path: as it was given.
        byte_count: size of the file.
        alignment: bytes; every range starts at a multiple of it.
        codecs: how record batches are compressed: ``"none"``, ``"lz4"``, ``"zstd"``, in this order; several where
            files of different codecs were merged (up to 64 batches, spread over the file, were asked), none where
            there are no batches.
        sizes: of its partitions.
    """

    path: str
    byte_count: int
    alignment: int
    codecs: tuple[str, ...]
    sizes: PartitionSizes

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "path": self.path,
            "byte_count": self.byte_count,
            "alignment": self.alignment,
            "codecs": list(self.codecs),
            **self.sizes.as_dict(),
        }


def inspect_file(path: str | PathLike[str]) -> FileInspection:
    """Read and check everything of a file but its rows.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the file is damaged.
        SpillError: it is another kind of file, has no index, or was written by a newer release.
        OSError: it cannot be read.
    """
    with opened(path) as (descriptor, structure):
        index = structure.index
        rows = index.layout.rows
        assert rows is not None  # an index always has them
        sizes = PartitionSizes(index.layout.lengths, rows, np.diff(index.first_messages))
        codecs = _sample_codecs(descriptor, structure.path, index)
        return FileInspection(
            path=structure.path,
            byte_count=structure.byte_count,
            alignment=index.alignment,
            codecs=codecs,
            sizes=sizes,
        )


def combined(sizes: Sequence[PartitionSizes]) -> PartitionSizes | None:
    """The sizes that a merge would have, or None where partition counts differ or there is nothing."""
    if len({each.partition_count for each in sizes}) != 1:
        return None
    return PartitionSizes(
        np.sum([each.byte_counts for each in sizes], axis=0),
        np.sum([each.row_counts for each in sizes], axis=0),
        np.sum([each.batch_counts for each in sizes], axis=0),
    )


def is_damage(error: SpillError | OSError) -> bool:
    """Whether an error of this module tells of a damaged file, rather than of one that could not be judged."""
    return isinstance(error, CorruptError)


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[tuple[int, FileStructure]]:
    """A file open for reading, with its structure, which was found right.

    Raises:
        As ``inspect_file`` does.
    """
    path = os.fspath(path)
    # Without blocking, since opening a pipe would wait for its writer instead of being refused.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _refuse_foreign(descriptor, path)
        yield descriptor, read_structure(descriptor, path)
    finally:
        os.close(descriptor)


def _refuse_foreign(descriptor: int, path: str) -> None:
    """Raise SpillError for what never was an Arrow file, so that it is not taken for a damaged one."""
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        return  # read_structure says so
    if not stat.S_ISREG(status.st_mode):
        raise SpillError("a device, pipe or socket, not a file", path=path)
    if status.st_size < len(FILE_START):
        return  # may be the beginning of one
    start = read_exactly(descriptor, 0, len(MAGIC), path)
    end = read_exactly(descriptor, status.st_size - len(MAGIC), len(MAGIC), path)
    if MAGIC not in {start, end}:
        raise SpillError("not an Arrow IPC file: its start and end", path=path, expected=MAGIC, actual=(start, end))


def _sample_codecs(descriptor: int, path: str, index: PartitionIndex) -> tuple[str, ...]:
    batch_count = len(index.body_lengths)
    samples = {number * batch_count // _CODEC_SAMPLES for number in range(_CODEC_SAMPLES)} if batch_count else set()
    offsets = index.message_offsets
    found = set()
    for batch in sorted(samples):
        offset = int(offsets[batch])
        metadata = read_exactly(descriptor, offset, int(index.metadata_lengths[batch]), path)
        try:
            found.add(read_codec(metadata) or "none")
        except ValueError as error:
            partition = int(np.searchsorted(index.first_messages, batch, side="right")) - 1
            raise CorruptError(str(error), path=path, partition=partition, offset=offset) from error
    return tuple(codec for codec in ("none", "lz4", "zstd") if codec in found)
