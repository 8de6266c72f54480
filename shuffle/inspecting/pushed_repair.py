"""New files of the chunks that are whole in a damaged pushed partition."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shuffle.inspecting.checking import Progress
from shuffle.merging.formats import SPARK
from shuffle.merging.plan import plan_merge
from shuffle.merging.sources import Source
from shuffle.merging.target_writer import PreparedMerge, write_merged
from shuffle.options import MergeOptions
from shuffle.wording import as_ranges, counted, sized
from spill_format.errors import TargetExistsError
from spill_format.layout import PartitionLayout
from spill_format.spark.outputs import encode_index
from spill_format.spark.publication import publish_with_companions
from spill_format.spark.pushed import encode_meta
from spill_format.spark.pushed_scan import PushedChunk, PushedPaths, PushedScan, pushed_paths_beside, scan_pushed
from spill_format.storage.identity import FileIdentity
from spill_format.storage.publication import open_pending


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedRepair:
    """What was kept of a pushed partition, and what was not.

    Attributes:
        path: of the damaged data file.
        target: path of the new data file; None where no chunk was whole, so that no file was made.
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

    @property
    def recovered(self) -> str:
        """What was kept, in words."""
        return f"{counted(self.chunk_count, 'chunk')}, {sized(self.byte_count)}"

    @property
    def lost(self) -> list[str]:
        """What was lost, in words."""
        if self.is_complete:
            return []
        chunks = f"lost {counted(len(self.lost_chunks), 'chunk')} ({as_ranges(self.lost_chunks)})"
        maps = f" of {counted(len(self.lost_maps), 'map')} ({as_ranges(self.lost_maps)})" if self.lost_maps else ""
        return [f"{'no chunk is whole' if self.target is None else chunks}{maps}; {self.problems[0]}"]


def repair_pushed(paths: PushedPaths, target: str, options: MergeOptions, progress: Progress) -> PushedRepair:
    """Write new files with every chunk that nothing is wrong with, also behind a damaged one.

    Of a map in two chunks the first counts. Where files were cut off this is what Spark's own recovery keeps.

    Args:
        paths: the damaged files.
        target: the data file to make; index and bitmaps beside it, the index last.
        options: ``overwrite`` and ``durable`` hold.
        progress: told how many further bytes were copied.

    Raises:
        ValueError: the target's name does not end with ``.data``.
        TargetExistsError: the target exists, or is one of the damaged files.
        ModuleNotFoundError: pyroaring is not installed.
        SpillError, OSError: the files cannot be read, or copying failed.
    """
    targets = pushed_paths_beside(target)
    _refuse_in_place(paths, targets)
    scan = scan_pushed(paths)
    chunks = scan.whole_chunks
    is_worth_it = bool(chunks) or not scan.defects
    if is_worth_it:
        _write(scan, chunks, targets, options, progress)
    kept = {number for chunk in chunks for number in chunk.maps}
    return PushedRepair(
        path=paths.data,
        target=target if is_worth_it else None,
        chunk_count=len(chunks),
        byte_count=sum(chunk.byte_count for chunk in chunks),
        lost_chunks=scan.damaged_chunks,
        lost_maps=tuple(number for number in scan.damaged_maps if number not in kept),
        problems=tuple(str(defect.error) for defect in scan.defects),
    )


def _write(
    scan: PushedScan,
    chunks: Sequence[PushedChunk],
    target: PushedPaths,
    options: MergeOptions,
    progress: Progress,
) -> None:
    ends = np.cumsum([0, *(chunk.byte_count for chunk in chunks)], dtype=np.int64)
    contents = {target.meta: encode_meta([chunk.maps for chunk in chunks]), target.index: encode_index(ends)}
    sources = list(_runs(scan, chunks))
    prepared = PreparedMerge(sources, SPARK, b"", plan_merge([source.layout for source in sources]))
    with open_pending(target.data, overwrite=options.overwrite, durable=options.durable) as pending:
        write_merged(prepared, pending, options, progress=progress)
        publish_with_companions(pending, contents, overwrite=options.overwrite, durable=options.durable)


def _runs(scan: PushedScan, chunks: Sequence[PushedChunk]) -> Iterator[Source]:
    """The data file once for each run of chunks that touch, as a source of that run alone."""
    status = scan.status
    assert status is not None  # without a data file there is a defect, and no chunk
    identity = FileIdentity.of(status)
    start = stop = 0
    for chunk in chunks:
        if chunk.start != stop:
            if start < stop:
                yield Source(scan.paths.data, PartitionLayout(np.array([start, stop])), identity)
            start = chunk.start
        stop = chunk.start + chunk.byte_count
    yield Source(scan.paths.data, PartitionLayout(np.array([start, stop])), identity)


def _refuse_in_place(paths: PushedPaths, target: PushedPaths) -> None:
    """Raise TargetExistsError where a file to make is one of the damaged ones."""
    for made in filter(os.path.exists, _all_of(target)):
        if any(os.path.samefile(made, damaged) for damaged in filter(os.path.exists, _all_of(paths))):
            raise TargetExistsError("a file is never repaired in place", path=made, advice="choose another name")


def _all_of(paths: PushedPaths) -> tuple[str, str, str]:
    return paths.data, paths.index, paths.meta
