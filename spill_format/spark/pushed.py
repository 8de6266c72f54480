"""Spark's push-based shuffle (Magnet): a partition's blocks of many maps in one file, in chunks whose maps are known.

Read from Spark's RemoteBlockPushResolver: ``.data`` holds whole blocks one behind the other; ``.index`` C + 1
offsets of chunks, big-endian int64 from 0 on; ``.meta`` for each chunk a serialized roaring bitmap of its maps. None
has checksums, so ``pushed_scan.py`` finds what contradicts itself, and what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from spill_format.layout import Int64Array
from spill_format.spark.pushed_scan import PushedPartition, PushedPaths, pushed_paths_beside, roaring, scan_pushed

MAXIMUM_MAP = 2**32 - 1
"""Roaring bitmaps hold numbers of 32 bits."""


def cut_chunks(block_lengths: Int64Array, minimum_bytes: int) -> list[int]:
    """Cut blocks into chunks as Spark does: a chunk ends as soon as it has ``minimum_bytes``. Return the chunks' ends,
    as numbers of blocks.

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
    """Encode a ``.meta`` file: the maps of each chunk, as Spark's shuffle service writes them.

    Raises:
        ModuleNotFoundError: pyroaring is not installed.
    """
    return b"".join(roaring().BitMap(maps, optimize=False).serialize() for maps in chunks)


def read_pushed(files: str | PathLike[str] | PushedPaths) -> PushedPartition:
    """Read and check the files of a pushed partition; not a byte of its chunks is read.

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
