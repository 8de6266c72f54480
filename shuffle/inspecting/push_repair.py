"""New files with what is whole of damaged merged partitions of Spark's push-based shuffle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np

from shuffle.inspecting.push_inspection import PushedChunk, whole_chunks
from shuffle.merging.formats import SPARK
from shuffle.merging.plan import plan_merge
from shuffle.merging.sources import Source
from shuffle.merging.target_writer import PreparedMerge, Progress, write_merged
from shuffle.options import MergeOptions
from spill_format.errors import CorruptError, TargetExistsError
from spill_format.layout import PartitionLayout
from spill_format.spark.discovery import find_pushed, find_pushed_files_of
from spill_format.spark.outputs import DATA_SUFFIX, encode_index
from spill_format.spark.publication import publish_with_companions
from spill_format.spark.pushed import encode_meta
from spill_format.spark.pushed_scan import PushedPaths, PushedScan, pushed_paths_beside, scan_pushed
from spill_format.storage.identity import FileIdentity
from spill_format.storage.publication import is_there, open_pending


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRepair:
    """What was kept of a merged partition, and what was not.

    Attributes:
        path: of the damaged data file.
        target: of the new one; None where no chunk was whole, so that there is none.
        chunk_count, byte_count: kept.
        lost_chunks: numbers, in the damaged files, of those that were not whole.
        lost_maps: numbers of the maps whose blocks were in these, as far as bitmaps tell.
        problems: what was wrong, in words; also what cost no chunk.
    """

    path: str
    target: str | None
    chunk_count: int
    byte_count: int
    lost_chunks: tuple[int, ...]
    lost_maps: tuple[int, ...]
    problems: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every chunk was kept."""
        return self.target is not None and not self.lost_chunks

    def as_dict(self) -> dict[str, Any]:
        """The repair as JSON has it."""
        return {**asdict(self), "is_complete": self.is_complete}


def repair_pushed(
    files: str | PathLike[str] | PushedPaths,
    target: str | PathLike[str],
    *,
    overwrite: bool = False,
    durable: bool = False,
    progress: Progress | None = None,
) -> PushRepair:
    """Write new files with the chunks of a merged partition that are whole, also those behind a damaged one.

    Where files were cut off this is what Spark's own recovery keeps. Of a map in two chunks the first counts. The maps'
    own outputs have the blocks that are lost.

    Args:
        files: the data file's name, or all files of the partition; they are not touched.
        target: the data file to make; index and bitmaps beside it, the index last.
        overwrite: replace an existing target, but never the damaged files.
        durable: fsync the files and their directory.
        progress: told how many further bytes are copied.

    Raises:
        ValueError: the target's name does not end with ``.data``.
        TargetExistsError: the target exists, or is one of the damaged files.
        CorruptError: no chunk is whole.
        ModuleNotFoundError: pyroaring is not installed.
        SpillError, OSError: as ``read_pushed`` raises them for other reasons than damage, and as copying does.
    """
    paths = files if isinstance(files, PushedPaths) else find_pushed_files_of(os.fspath(files))
    _refuse_in_place(paths, pushed_paths_beside(target))
    found = _repair(paths, target, MergeOptions(overwrite=overwrite, durable=durable), progress)
    if found.target is None:
        raise CorruptError(f"nothing can be recovered: no chunk is whole; {found.problems[0]}", path=paths.data)
    return found


def repair_pushed_directory(
    directory: str | PathLike[str],
    target: str | PathLike[str],
    *,
    overwrite: bool = False,
    durable: bool = False,
    progress: Progress | None = None,
) -> list[PushRepair]:
    """Repair every merged partition below a directory into another, under its name; sound ones are copied.

    Args:
        directory: ``merge_manager*`` for example.
        target: the other directory, which must exist.
        overwrite, durable, progress: see ``repair_pushed``.

    Returns:
        What was kept of each, in the order of their names. Of one without a whole chunk nothing is written.

    Raises:
        As ``repair_pushed`` does; before anything is written where a target exists.
        SpillError: a file is there twice.
        CorruptError: there are merged partitions, and no chunk of any is whole.
    """
    found = [
        (paths, os.path.join(os.fspath(target), f"{name}{DATA_SUFFIX}")) for name, paths in find_pushed([directory])
    ]
    for paths, file in found:
        targets = pushed_paths_beside(file)
        _refuse_in_place(paths, targets)
        if not overwrite and (existing := [each for each in _all_of(targets) if is_there(each)]):
            advice = "choose another name, or replace it with overwrite=True"
            raise TargetExistsError("the target already exists", path=existing[0], advice=advice)
    options = MergeOptions(overwrite=overwrite, durable=durable)
    repairs = [_repair(paths, file, options, progress) for paths, file in found]
    if repairs and all(repair.target is None for repair in repairs):
        raise CorruptError("nothing can be recovered: no chunk of any merged partition is whole", path=directory)
    return repairs


def _repair(
    paths: PushedPaths, target: str | PathLike[str], options: MergeOptions, progress: Progress | None
) -> PushRepair:
    """Write what is whole, if there is something, or all was."""
    scan = scan_pushed(paths)
    chunks = list(whole_chunks(scan))
    is_worth_it = bool(chunks) or not scan.defects
    if is_worth_it:
        _write(scan, chunks, pushed_paths_beside(target), options, progress)
    kept = {number for chunk in chunks for number in chunk.maps}
    return PushRepair(
        path=scan.paths.data,
        target=os.fspath(target) if is_worth_it else None,
        chunk_count=len(chunks),
        byte_count=sum(chunk.byte_count for chunk in chunks),
        lost_chunks=scan.damaged_chunks,
        lost_maps=tuple(number for number in scan.damaged_maps if number not in kept),
        problems=tuple(str(defect.error) for defect in scan.defects),
    )


def _write(
    scan: PushedScan,
    chunks: list[PushedChunk],
    target: PushedPaths,
    options: MergeOptions,
    progress: Progress | None,
) -> None:
    ends = np.cumsum([0, *(chunk.byte_count for chunk in chunks)], dtype=np.int64)
    contents = {target.meta: encode_meta([chunk.maps for chunk in chunks]), target.index: encode_index(ends)}
    sources = list(_runs(scan, chunks))
    prepared = PreparedMerge(sources, SPARK, b"", plan_merge([source.layout for source in sources]))
    with open_pending(target.data, overwrite=options.overwrite, durable=options.durable) as pending:
        write_merged(prepared, pending, options, progress=progress or _silent)
        publish_with_companions(pending, contents, overwrite=options.overwrite, durable=options.durable)


def _runs(scan: PushedScan, chunks: list[PushedChunk]) -> Iterator[Source]:
    """The data file once for each run of chunks that touch, as a source of that run alone."""
    status = scan.status
    assert status is not None  # without a data file there is a defect, and no chunk
    identity = FileIdentity.of(status)
    start = end = 0
    for chunk in chunks:
        if chunk.offset != end:
            if start < end:
                yield Source(scan.paths.data, PartitionLayout(np.array([start, end])), identity)
            start = chunk.offset
        end = chunk.offset + chunk.byte_count
    yield Source(scan.paths.data, PartitionLayout(np.array([start, end])), identity)


def _refuse_in_place(paths: PushedPaths, target: PushedPaths) -> None:
    """Raise TargetExistsError where a file to make is one of the damaged ones."""
    for made in filter(os.path.exists, _all_of(target)):
        if any(os.path.samefile(made, damaged) for damaged in filter(os.path.exists, _all_of(paths))):
            raise TargetExistsError("a file is never repaired in place", path=made, advice="choose another name")


def _all_of(paths: PushedPaths) -> tuple[str, str, str]:
    return paths.data, paths.index, paths.meta


def _silent(_count: int) -> None:
    """Progress that nobody wants to see."""
