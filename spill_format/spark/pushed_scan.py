"""Looking into the files of a pushed partition, which Spark's push-based shuffle makes: what is whole, chunk by chunk.

None of them has a checksum. What can be noticed is what is missing, cut off, or contradicts itself or another file.
Nothing here writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from spill_format.errors import REPAIR_ADVICE, CorruptError, TruncatedError
from spill_format.layout import Int64Array
from spill_format.spark.outputs import DATA_SUFFIX, index_path_of, read_companion, read_settled
from spill_format.storage.local import open_regular

META_SUFFIX = ".meta"

_MOST_MAPS = 1 << 24
"""More than any shuffle has. A bitmap of billions takes few bytes, and would fill memory where it is listed."""


@dataclass(frozen=True, slots=True)
class PushedPaths:
    """The files of a pushed partition, whether they are there or not; in one directory, or in Spark's hashed ones."""

    data: str
    index: str
    meta: str


class PushedDefect(NamedTuple):
    """What is wrong with a pushed partition.

    Attributes:
        chunks: the numbers of those that it concerns; none where bytes belong to no chunk.
        error: which file, what was expected and what is there.
    """

    chunks: range
    error: CorruptError


@dataclass(frozen=True, slots=True, eq=False)
class PushedPartition:
    """The chunks of a pushed partition.

    Attributes:
        path: of the data file.
        offsets: ``int64[C + 1]``, where chunks start, from 0 on; the last is the end of the data.
        bitmaps: of the numbers of the maps in each chunk, as pyroaring has them; not to be changed.
    """

    path: str
    offsets: Int64Array
    bitmaps: tuple[Any, ...]

    @property
    def chunk_count(self) -> int:
        """C."""
        return len(self.bitmaps)

    @property
    def maps(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the maps in each chunk, ascending."""
        return tuple(map(tuple, self.bitmaps))

    def read(self, chunk: int) -> bytes:
        """Read the bytes of one chunk: whole blocks of its maps.

        Raises:
            IndexError: there is no such chunk.
            TruncatedError: the data file was cut short since it was looked at.
            OSError: it cannot be read.
        """
        if not 0 <= chunk < self.chunk_count:
            raise IndexError(f"no chunk {chunk}: there are {self.chunk_count}")
        start, stop = self.offsets[chunk : chunk + 2].tolist()
        with open(open_regular(self.path), "rb") as file:
            file.seek(start)
            content = file.read(stop - start)
        if len(content) < stop - start:
            raise TruncatedError(
                f"bytes of chunk {chunk}", path=self.path, offset=start, expected=stop - start, actual=len(content)
            )
        return content


class PushedChunk(NamedTuple):
    """A chunk that is whole: its number, its place in the data file, and the maps whose blocks it has, ascending."""

    number: int
    start: int
    byte_count: int
    maps: tuple[int, ...]


@dataclass(frozen=True, eq=False)  # without slots, which leave no place for what is computed once
class PushedScan:
    """What was found in the files of a pushed partition.

    Attributes:
        paths: its files.
        status: of the data file; None where there is none.
        offsets: ``int64[…]``, the whole numbers in the index, right or wrong.
        bitmaps: of the maps of each chunk, up to one that is not whole.
        bitmap_ends: where each of them ends in its file.
        index_bytes, meta_bytes: sizes of these files; None where there is none.
    """

    paths: PushedPaths
    status: os.stat_result | None
    offsets: Int64Array
    bitmaps: tuple[Any, ...]
    bitmap_ends: tuple[int, ...]
    index_bytes: int | None
    meta_bytes: int | None

    @property
    def data_bytes(self) -> int:
        """Size of the data file, 0 where there is none."""
        return 0 if self.status is None else self.status.st_size

    @property
    def chunk_count(self) -> int:
        """Chunks that index or bitmaps tell of, whole or not."""
        return max(self._indexed_count, len(self.bitmaps))

    @cached_property
    def defects(self) -> tuple[PushedDefect, ...]:
        """All that is wrong: with the index, with the bitmaps, with the data, and with what they say of each other."""
        kinds = (self._index_defects(), self._meta_defects(), self._data_defects(), self._chunk_defects())
        return tuple(defect for kind in kinds for defect in kind)

    @cached_property
    def whole_chunks(self) -> tuple[PushedChunk, ...]:
        """The chunks that nothing is wrong with, also behind a damaged one."""
        damaged, starts = set(self.damaged_chunks), self.offsets.tolist()
        return tuple(
            PushedChunk(number, starts[number], starts[number + 1] - starts[number], tuple(self.bitmaps[number]))
            for number in range(self.chunk_count)
            if number not in damaged
        )

    @property
    def damaged_chunks(self) -> tuple[int, ...]:
        """The numbers, ascending, of the chunks that something is wrong with."""
        return tuple(sorted({chunk for defect in self.defects for chunk in defect.chunks}))

    @property
    def damaged_maps(self) -> tuple[int, ...]:
        """The numbers, ascending, of the maps whose blocks are in damaged chunks, as far as bitmaps tell."""
        found = roaring().BitMap()
        for chunk in self.damaged_chunks:
            if chunk < len(self.bitmaps) and len(found) + len(self.bitmaps[chunk]) <= _MOST_MAPS:
                found |= self.bitmaps[chunk]
        return tuple(found)

    @property
    def sound_chunk_count(self) -> int:
        """How many chunks come before the first damaged one."""
        return min((defect.chunks.start for defect in self.defects if defect.chunks), default=self.chunk_count)

    @property
    def sound(self) -> PushedPartition:
        """The chunks before the first damaged one."""
        count = self.sound_chunk_count
        offsets = self.offsets[: count + 1] if count else np.zeros(1, dtype=np.int64)
        return PushedPartition(self.paths.data, offsets, self.bitmaps[:count])

    @property
    def _indexed_count(self) -> int:
        return max(len(self.offsets) - 1, 0)

    @property
    def _index_is_whole(self) -> bool:
        """Whether its offsets start at 0 and never decrease, and no byte follows the last of them."""
        return self._ascending_count * 8 == self.index_bytes != 0

    @cached_property
    def _ascending_count(self) -> int:
        """How many offsets there are up to one that decreases; none where the first is not 0."""
        if not len(self.offsets) or self.offsets[0] != 0:
            return 0
        decreasing = self.offsets[1:] < self.offsets[:-1]
        return int(np.argmax(decreasing)) + 1 if decreasing.any() else len(self.offsets)

    def _index_defects(self) -> Iterator[PushedDefect]:
        path, offsets = self.paths.index, self.offsets
        if self.index_bytes is None:
            yield self._from(
                0, CorruptError, "there is no index: of a partition that was not finished", self.paths.data
            )
            return
        if self.index_bytes % 8 or not len(offsets):
            yield self._from(
                self._indexed_count,
                TruncatedError,
                "length of the index",
                path,
                expected="8 bytes for each of one or more offsets",
                actual=self.index_bytes,
            )
        if len(offsets) and offsets[0] != 0:
            problem = "the first offset of the index"
            yield self._from(0, CorruptError, problem, path, offset=0, expected=0, actual=int(offsets[0]))
        elif self._ascending_count < len(offsets):
            chunk = self._ascending_count - 1
            start, stop = offsets[chunk : chunk + 2].tolist()
            yield self._from(
                chunk,
                CorruptError,
                f"the index says that chunk {chunk} ends before it starts",
                path,
                offset=8 * (chunk + 1),
                expected=f"an end of {start} or more",
                actual=stop,
            )

    def _meta_defects(self) -> Iterator[PushedDefect]:
        path, count = self.paths.meta, len(self.bitmaps)
        sound_bytes = self.bitmap_ends[-1] if count else 0
        if self.meta_bytes is None:
            yield self._from(0, CorruptError, "there is no file of bitmaps", path)
        elif sound_bytes != self.meta_bytes:
            problem = f"the bitmap of chunk {count} is cut off or damaged"
            yield self._from(count, TruncatedError, problem, path, offset=sound_bytes)
        elif self.index_bytes is not None and count != self._indexed_count:
            problem = "number of bitmaps, one for each chunk of the index"
            yield self._from(
                min(count, self._indexed_count),
                CorruptError,
                problem,
                path,
                expected=self._indexed_count,
                actual=count,
            )

    def _data_defects(self) -> Iterator[PushedDefect]:
        offsets = self.offsets[: self._ascending_count]
        if not len(offsets):
            return
        end = int(offsets[-1])
        if self.status is None:
            expected = f"{self.paths.data} of {end} bytes"
            problem = "the index has no data file"
            yield self._from(0, TruncatedError, problem, self.paths.index, expected=expected, actual="none")
        elif self.data_bytes < end or (self.data_bytes > end and self._index_is_whole):
            is_short = self.data_bytes < end
            whole_count = int(np.searchsorted(offsets, self.data_bytes, side="right")) - 1
            yield self._from(
                whole_count if is_short else self.chunk_count,
                TruncatedError if is_short else CorruptError,
                "size of the data, the last offset of its index",
                self.paths.data,
                expected=end,
                actual=self.data_bytes,
            )

    def _chunk_defects(self) -> Iterator[PushedDefect]:
        """What bitmaps say that cannot be: each block is in one chunk, and none is empty."""
        path = self.paths.meta
        lengths = np.diff(self.offsets[: self._ascending_count]).tolist()
        earlier: Any = roaring().BitMap() if self.bitmaps else None
        for chunk, (bitmap, length) in enumerate(zip(self.bitmaps, lengths, strict=False)):
            problem = ""
            if not 0 < len(bitmap) <= min(length, _MOST_MAPS - len(earlier)):
                problem = f"chunk {chunk} of {length} bytes cannot have {len(bitmap)} maps"
            elif repeated := earlier & bitmap:
                problem = f"map {repeated.min()} of chunk {chunk} is in an earlier chunk, too"
            if problem:
                yield PushedDefect(range(chunk, chunk + 1), CorruptError(problem, path=path, advice=_advice(chunk)))
            else:
                earlier |= bitmap

    def _from(
        self,
        first_chunk: int,
        kind: type[CorruptError],
        problem: str,
        path: str,
        *,
        offset: int | None = None,
        expected: object = None,
        actual: object = None,
    ) -> PushedDefect:
        """What concerns all chunks from one on."""
        advice = _advice(first_chunk)
        error = kind(problem, path=path, offset=offset, expected=expected, actual=actual, advice=advice)
        return PushedDefect(range(first_chunk, self.chunk_count), error)


def _advice(first_chunk: int) -> str | None:
    """What to do about damage from a chunk on."""
    return REPAIR_ADVICE if first_chunk else None


def meta_path_of(data_path: str | PathLike[str]) -> str:
    """Return the path of the bitmaps that belong to a data file; ValueError as for ``index_path_of``."""
    index_path_of(data_path)
    return os.fspath(data_path).removesuffix(DATA_SUFFIX) + META_SUFFIX


def pushed_paths_beside(data_path: str | PathLike[str]) -> PushedPaths:
    """Return the files of a pushed partition that lie beside its data file; ValueError as for ``index_path_of``."""
    return PushedPaths(os.fspath(data_path), index_path_of(data_path), meta_path_of(data_path))


def scan_pushed(paths: PushedPaths) -> PushedScan:
    """Find what is whole of a pushed partition; no byte of its chunks is read. Damage is no exception here.

    Where it is being replaced meanwhile, this is the old one or the new one, as of ``read_output``.

    Raises:
        FileNotFoundError: none of its files is there.
        SpillError: one is a device, pipe or socket.
        ModuleNotFoundError: pyroaring is not installed.
        OSError: a file cannot be read.
    """
    return read_settled(paths.data, lambda status: _scan_once(paths, status))


def roaring() -> Any:
    """Import pyroaring; ModuleNotFoundError, with advice, where it is not installed."""
    try:
        import pyroaring
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the push-based layout needs pyroaring: pip install 'shuffle-merge[spark]'", name="pyroaring"
        ) from error
    return pyroaring


def _scan_once(paths: PushedPaths, status: os.stat_result | None) -> PushedScan:
    index, meta = _content_of(paths.index), _content_of(paths.meta)
    if index is None and meta is None and status is None:
        os.stat(paths.data)  # raises what there is to say
    content = index or b""
    bitmaps, ends = _decode_bitmaps(meta or b"")
    return PushedScan(
        paths=paths,
        status=status,
        offsets=np.frombuffer(content[: len(content) // 8 * 8], dtype=">i8").astype(np.int64),
        bitmaps=tuple(bitmaps),
        bitmap_ends=tuple(ends),
        index_bytes=None if index is None else len(index),
        meta_bytes=None if meta is None else len(meta),
    )


def _content_of(path: str) -> bytes | None:
    with suppress(FileNotFoundError):
        return read_companion(path)
    return None


def _decode_bitmaps(meta: bytes) -> tuple[list[Any], list[int]]:
    """The bitmaps up to one that is not whole, and where each ends."""
    content = memoryview(meta)
    bitmaps: list[Any] = []
    ends: list[int] = []
    position = 0
    while position < len(content):
        try:
            bitmap = roaring().BitMap.deserialize(content[position:])
        except ValueError:
            break
        # What was serialized is what it serializes to: a damaged one may be read as something else.
        encoded = bitmap.serialize()
        if content[position : position + len(encoded)] != encoded:
            break
        position += len(encoded)
        bitmaps.append(bitmap)
        ends.append(position)
    return bitmaps, ends
