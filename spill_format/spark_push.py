"""Spark's push-based shuffle (Magnet): a partition's blocks of many maps in one file, in chunks whose maps are known.

Read from Spark's RemoteBlockPushResolver: ``.data`` holds whole blocks one behind the other; ``.index`` C + 1
offsets of chunks, big-endian int64 from 0 on; ``.meta`` for each chunk a serialized roaring bitmap of its maps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from spill_format.errors import CorruptError, TruncatedError
from spill_format.layout import Int64Array
from spill_format.spark import DATA_SUFFIX, index_path_of, read_offsets

META_SUFFIX = ".meta"
MAXIMUM_MAP = 2**32 - 1
"""Roaring bitmaps hold numbers of 32 bits."""


class PushedName(NamedTuple):
    """What the name of a merged partition's files tells."""

    application: str
    shuffle: int
    merge: int
    reduce: int

    def __str__(self) -> str:
        """The name without an extension."""
        return f"shuffleMerged_{self.application}_{self.shuffle}_{self.merge}_{self.reduce}"


@dataclass(frozen=True, slots=True, eq=False)
class PushedPartition:
    """What the files of a merged partition say.

    Attributes:
        path: of the data file.
        offsets: ``int64[C + 1]``, where chunks start, from 0 on; the last is the end of the data.
        maps: the numbers of the maps in each chunk, ascending.
    """

    path: str
    offsets: Int64Array
    maps: tuple[tuple[int, ...], ...]

    @property
    def chunk_count(self) -> int:
        """C."""
        return len(self.maps)

    def read(self, chunk: int) -> bytes:
        """The bytes of one chunk: whole blocks of its maps.

        Raises:
            IndexError: there is no such chunk.
            TruncatedError: the data file was cut short since it was looked at.
            OSError: it cannot be read.
        """
        if not 0 <= chunk < self.chunk_count:
            raise IndexError(f"no chunk {chunk}: there are {self.chunk_count}")
        start, end = self.offsets[chunk : chunk + 2].tolist()
        with open(self.path, "rb") as file:
            file.seek(start)
            content = file.read(end - start)
        if len(content) < end - start:
            raise TruncatedError(
                f"bytes of chunk {chunk}", path=self.path, offset=start, expected=end - start, actual=len(content)
            )
        return content


class PushedRecovery(NamedTuple):
    """What recovering a merged partition kept, and what it cut off, in bytes of each file."""

    chunk_count: int
    data_bytes: int
    index_bytes: int
    meta_bytes: int


def meta_path_of(data_path: str | PathLike[str]) -> str:
    """The file of bitmaps that belongs to a data file; ValueError as for ``index_path_of``."""
    index_path_of(data_path)
    return os.fspath(data_path).removesuffix(DATA_SUFFIX) + META_SUFFIX


def cut_chunks(block_lengths: Int64Array, minimum_bytes: int) -> list[int]:
    """Where chunks end, as numbers of blocks: as soon as a chunk has ``minimum_bytes``, as Spark cuts them.

    Args:
        block_lengths: ``int64[B]``, bytes of each block, in order.
        minimum_bytes: 1 or more.
    """
    ends, size = [], 0
    for number, length in enumerate(block_lengths.tolist(), start=1):
        size += length
        if size >= minimum_bytes:
            ends.append(number)
            size = 0
    if size:
        ends.append(len(block_lengths))
    return ends


def encode_meta(chunks: Sequence[Sequence[int]]) -> bytes:
    """The bytes of a ``.meta`` file: the maps of each chunk.

    Raises:
        ModuleNotFoundError: pyroaring is not installed.
    """
    return b"".join(_roaring().BitMap(maps).serialize() for maps in chunks)


def read_pushed(data_path: str | PathLike[str]) -> PushedPartition:
    """Read and check the files of a merged partition; not a byte of its chunks is read.

    Raises:
        TruncatedError: index, bitmaps or data are cut off.
        CorruptError: they contradict each other.
        ModuleNotFoundError: pyroaring is not installed.
        OSError: a file cannot be read.
    """
    path = os.fspath(data_path)
    offsets = read_offsets(index_path_of(path))
    bitmaps, ends = _read_meta(meta_path_of(path))
    sound_bytes = ends[-1] if ends else 0
    if sound_bytes != os.path.getsize(meta_path_of(path)):
        raise TruncatedError("a bitmap is cut off or damaged", path=meta_path_of(path), offset=sound_bytes)
    if len(bitmaps) != len(offsets) - 1:
        raise CorruptError(
            "bitmaps, one for each chunk of the index",
            path=meta_path_of(path),
            expected=len(offsets) - 1,
            actual=len(bitmaps),
        )
    size = os.path.getsize(path)
    if size != offsets[-1]:
        kind = TruncatedError if size < offsets[-1] else CorruptError
        raise kind("size of the data, the last offset of its index", path=path, expected=int(offsets[-1]), actual=size)
    return PushedPartition(path, offsets, tuple(bitmaps))


def recover_pushed(data_path: str | PathLike[str]) -> PushedRecovery:
    """Cut the files of a merged partition off behind the last chunk that all three of them have whole, as Spark does on
    recovery; what was being appended when its writer died is lost, the chunks before it are not.

    Raises:
        CorruptError: the index does not start with offset 0, or its offsets decrease.
        ModuleNotFoundError: pyroaring is not installed.
        OSError: a file is missing or cannot be written.
    """
    path = os.fspath(data_path)
    index_path, meta_path = index_path_of(path), meta_path_of(path)
    sizes = [os.path.getsize(each) for each in (path, index_path, meta_path)]
    with open(index_path, "rb") as file:
        content = file.read()
    offsets = np.frombuffer(content[: len(content) // 8 * 8], dtype=">i8").astype(np.int64)
    if not len(offsets) or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
        raise CorruptError("offsets from 0 on that do not decrease", path=index_path, actual=offsets[:3].tolist())
    _, ends = _read_meta(meta_path)
    within = int(np.searchsorted(offsets, sizes[0], side="right")) - 1
    chunk_count = min(within, len(ends))
    kept = int(offsets[chunk_count]), 8 * (chunk_count + 1), ends[chunk_count - 1] if chunk_count else 0
    # Readers count the chunks by the index, so it gives way first.
    for each, size in zip((index_path, meta_path, path), (kept[1], kept[2], kept[0]), strict=True):
        os.truncate(each, size)
    return PushedRecovery(chunk_count, *(before - after for before, after in zip(sizes, kept, strict=True)))


def _read_meta(meta_path: str) -> tuple[list[tuple[int, ...]], list[int]]:
    """The maps of each chunk, up to a bitmap that is not whole, and where each bitmap ends."""
    with open(meta_path, "rb") as file:
        content = memoryview(file.read())
    bitmaps: list[tuple[int, ...]] = []
    ends: list[int] = []
    position = 0
    while position < len(content):
        try:
            bitmap = _roaring().BitMap.deserialize(content[position:])
        except ValueError:
            break
        # What was serialized is what it serializes to: a damaged one may be read as something else.
        encoded = bitmap.serialize()
        if content[position : position + len(encoded)] != encoded:
            break
        position += len(encoded)
        bitmaps.append(tuple(bitmap))
        ends.append(position)
    return bitmaps, ends


def _roaring() -> Any:
    try:
        import pyroaring
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the push-based layout needs pyroaring: pip install 'shuffle-merge[spark]'", name="pyroaring"
        ) from error
    return pyroaring
