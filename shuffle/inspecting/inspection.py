"""What can be found out about partitioned files without decoding a row: sizes, skew, codecs, damage.

Nothing here prints, and nothing needs pyarrow. File contents are read, never mapped: a disk that fails under a memory
map kills the process, here it is an error that names file and place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from shuffle.inspecting.sizes import PartitionSizes
from shuffle.machine.file_systems import FileSystem, file_system_of
from shuffle.merging.copy.choice import CLONED_BYTES
from spill_format.errors import CorruptError, SpillError
from spill_format.framing import FILE_START, MAGIC, read_codec
from spill_format.index import PartitionIndex
from spill_format.storage.local import read_exactly
from spill_format.structure import FileStructure, read_structure

_CODEC_SAMPLES = 64


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
        file_system: that it lies on.
    """

    path: str
    byte_count: int
    alignment: int
    codecs: tuple[str, ...]
    sizes: PartitionSizes
    file_system: FileSystem

    @property
    def cloneable_bytes(self) -> int:
        """Bytes of the ranges that a merge would clone on a file system that shares blocks: those made of whole blocks
        and large enough to be worth it."""
        if self.alignment % self.file_system.block_bytes:
            return 0
        lengths = self.sizes.byte_counts
        return int(lengths[lengths >= CLONED_BYTES].sum())

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "path": self.path,
            "byte_count": self.byte_count,
            "alignment": self.alignment,
            "codecs": list(self.codecs),
            "file_system": self.file_system.name,
            "shares_blocks": self.file_system.shares_blocks,
            "cloneable_bytes": self.cloneable_bytes,
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
            file_system=file_system_of(descriptor),
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
