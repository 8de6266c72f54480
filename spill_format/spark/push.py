"""Spark's push-based shuffle (Magnet): a partition's blocks of many maps in one file, in chunks whose maps are known.

Read from Spark's RemoteBlockPushResolver: ``.data`` holds whole blocks one behind the other; ``.index`` C + 1
offsets of chunks, big-endian int64 from 0 on; ``.meta`` for each chunk a serialized roaring bitmap of its maps. None
has checksums, so ``push_scan.py`` finds what contradicts itself, and what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

from spill_format.errors import CorruptError
from spill_format.layout import Int64Array
from spill_format.spark.push_scan import PushedPartition, PushedPaths, pushed_paths_beside, roaring, scan_pushed

MAXIMUM_MAP = 2**32 - 1
"""Roaring bitmaps hold numbers of 32 bits."""


class PushedRecovery(NamedTuple):
    """What recovering a merged partition kept, and what it cut off, in bytes of each file."""

    chunk_count: int
    data_bytes: int
    index_bytes: int
    meta_bytes: int


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
    """The bytes of a ``.meta`` file: the maps of each chunk, as Spark's shuffle service writes them.

    Raises:
        ModuleNotFoundError: pyroaring is not installed.
    """
    return b"".join(roaring().BitMap(maps, optimize=False).serialize() for maps in chunks)


def read_pushed(files: str | PathLike[str] | PushedPaths) -> PushedPartition:
    """Read and check the files of a merged partition; not a byte of its chunks is read.

    Args:
        files: the data file's name, where its companions lie beside it; or all three.

    Raises:
        TruncatedError: index, bitmaps or data are cut off.
        CorruptError: one of them is missing, or they contradict each other.
        FileNotFoundError: none of them is there.
        SpillError: one is a device, pipe or socket.
        ModuleNotFoundError: pyroaring is not installed.
        OSError: a file cannot be read.
    """
    scan = scan_pushed(files if isinstance(files, PushedPaths) else pushed_paths_beside(files))
    for defect in scan.defects:
        raise defect.error
    return scan.sound


def recover_pushed(data_path: str | PathLike[str]) -> PushedRecovery:
    """Cut the files of a merged partition off behind the last chunk that all three of them have whole, as Spark does on
    recovery; what was being appended when its writer died is lost, the chunks before it are not.

    This writes to the files themselves, and nobody may be appending to them; ``repair`` makes new ones.

    Raises:
        CorruptError: the index does not start with offset 0, or its offsets decrease.
        ModuleNotFoundError: pyroaring is not installed.
        SpillError, OSError: a file is missing or cannot be written.
    """
    paths = pushed_paths_beside(data_path)
    # Readers count the chunks by the index, so it gives way first.
    files = (paths.index, paths.meta, paths.data)
    before = [os.stat(file).st_size for file in files]
    scan = scan_pushed(paths)
    if not scan.index_is_plausible:
        raise CorruptError("offsets from 0 on that do not decrease", path=paths.index, actual=scan.offsets[:3].tolist())
    data_bytes, index_bytes, meta_bytes = scan.sound_sizes
    after = (index_bytes, meta_bytes, data_bytes)
    for file, size in zip(files, after, strict=True):
        os.truncate(file, size)
    index_cut, meta_cut, data_cut = (old - new for old, new in zip(before, after, strict=True))
    return PushedRecovery(scan.sound_chunk_count, data_cut, index_cut, meta_cut)
