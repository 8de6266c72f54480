"""Pushed partitions: what Spark's push-based shuffle merges of one partition, as the commands look into it.

Inspecting finds chunks, the maps in each chunk, codecs and damage. The files have no checksums:
``spill_format/spark/pushed_scan.py`` says what counts as damage. A repair writes new files of the whole chunks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from shuffle.inspecting.checking import Check, Progress
from shuffle.inspecting.ranges import read_pieces, spans_of
from shuffle.inspecting.results import PROBLEMS, Failure, FileRepair, FileResult, Problem, State
from shuffle.inspecting.sizes import Order, PartitionSizes
from shuffle.inspecting.spark import sample_codecs
from shuffle.numbering import Numbers, is_among
from shuffle.options import MergeOptions
from shuffle.wording import as_ranges, counted, sized
from spill_format.spark.discovery import PushedName, find_pushed, find_pushed_files_of, parse_pushed_name
from spill_format.spark.outputs import DATA_SUFFIX
from spill_format.spark.pushed import read_pushed
from spill_format.spark.pushed_scan import PushedChunk, PushedPaths, PushedScan, meta_path_of, scan_pushed
from spill_format.storage.local import open_regular
from spill_format.storage.publication import is_there


@dataclass(frozen=True, slots=True)
class PushedFiles:
    """The files of one pushed partition; see ``Kind``."""

    paths: PushedPaths
    format: ClassVar[str] = "spark-push"
    is_repairable: ClassVar[bool] = True
    byte_count: ClassVar[int] = 0  # no byte of a chunk is read

    @staticmethod
    def is_at(path: str) -> bool:
        """Tell whether a path names a data file: by its name, or because bitmaps lie beside it."""
        return path.endswith(DATA_SUFFIX) and (parse_pushed_name(path) is not None or is_there(meta_path_of(path)))

    @classmethod
    def at(cls, path: str) -> PushedFiles:
        """Find the partition that has a data file."""
        return cls(find_pushed_files_of(path))

    @classmethod
    def below(cls, roots: Sequence[str]) -> list[PushedFiles]:
        """Find the pushed partitions of all shuffles below directories; errors as for ``find_pushed``."""
        return [cls(paths) for _, paths in find_pushed(roots)]

    @property
    def path(self) -> str:
        """See ``Kind``."""
        return self.paths.data

    @property
    def name(self) -> PushedName | None:
        """Shuffle and partition in the files' name; None for a name that is not Spark's."""
        return parse_pushed_name(self.path)

    def inspect(self) -> PushedInspection:
        """See ``Kind``; ModuleNotFoundError where pyroaring is not installed. Damage raises
        nothing: the result lists it."""
        scan = scan_pushed(self.paths)
        codecs: tuple[str, ...] = ()
        if scan.whole_chunks:
            descriptor = open_regular(self.path)
            try:
                starts, lengths = ([chunk[field] for chunk in scan.whole_chunks] for field in (1, 2))
                codecs = sample_codecs(descriptor, self.path, np.array(starts), np.array(lengths))
            finally:
                os.close(descriptor)
        return PushedInspection(scan=scan, name=self.name, codecs=codecs)

    def check(self, *, fast: bool, progress: Progress) -> Check:  # noqa: ARG002 (see Kind)
        """See ``Kind``. Without checksums there is nothing to compute."""
        return _PushedCheck(self)

    def repair(self, target: str, *, overwrite: bool, durable: bool, progress: Progress) -> FileRepair:
        """See ``Kind``; and ``repair_pushed``."""
        from shuffle.inspecting.pushed_repair import repair_pushed

        options = MergeOptions(overwrite=overwrite, durable=durable)
        return repair_pushed(self.paths, target, options, progress)

    def raw(self, partitions: Numbers | None, chunks: Numbers | None) -> Iterator[bytes]:
        """See ``Kind``."""
        if partitions is not None and (self.name is None or not is_among(self.name.reduce, partitions)):
            which = "one partition" if self.name is None else f"partition {self.name.reduce}"
            raise ValueError(f"{self.path} has {which} alone, whose parts are chunks: ask for these")
        pushed = read_pushed(self.paths)
        spans = spans_of(pushed.offsets, chunks, self.path, "chunk")
        descriptor = open_regular(self.path)
        try:
            yield from read_pieces(descriptor, self.path, spans)
        finally:
            os.close(descriptor)

    @staticmethod
    def shuffles(files: Sequence[Any]) -> list[dict[str, Any]]:
        """See ``Kind``: a line for each try of merging a shuffle."""
        groups: dict[tuple[str | None, int | None, int | None], list[PushedInspection]] = {}
        for file in files:
            if isinstance(file, PushedInspection):
                group = (None, None, None) if file.name is None else file.name[:3]
                groups.setdefault(group, []).append(file)
        return [_summary(group, members) for group, members in groups.items()]


def select_pushed(found: Sequence[PushedFiles], partitions: Numbers | None, directory: str) -> list[PushedFiles]:
    """Select pushed partitions of a directory by their numbers, in order.

    Raises:
        ValueError: the partitions are of several shuffles, or a number has no partition.
    """
    names = {each.name: each for each in found if each.name is not None}
    if len(shuffles := {str(name).rpartition("_")[0] for name in names}) > 1:
        raise ValueError(f"{directory} has {', '.join(sorted(shuffles))}: give the file of one")
    wanted = [each for name, each in names.items() if is_among(name.reduce, partitions)]
    if not wanted:
        there = as_ranges([name.reduce for name in names])
        raise ValueError(f"{directory} has no such pushed partition, unless it is empty; there are {there}")
    return wanted


@dataclass(frozen=True, eq=False, kw_only=True)  # without slots, which leave no place for what is computed once
class PushedInspection:
    """Chunks, maps and damage of a pushed partition, sound or not.

    Attributes:
        scan: chunks and damage found in the files.
        name: shuffle and partition in the files' name; None for a name that is not Spark's.
        codecs: codecs of up to 64 whole chunks, by ``recognize_codec``, in alphabetical order.
    """

    scan: PushedScan
    name: PushedName | None
    codecs: tuple[str, ...]
    format: ClassVar[str] = PushedFiles.format
    sizes: ClassVar[None] = None

    @property
    def state(self) -> State:
        """The verdict."""
        return "damaged" if self.scan.defects else "ok"

    @property
    def path(self) -> str:
        """Path of the data file, whether the file exists or not."""
        return self.scan.paths.data

    @property
    def chunks(self) -> tuple[PushedChunk, ...]:
        """The chunks that are whole."""
        return self.scan.whole_chunks

    @property
    def byte_count(self) -> int:
        """Bytes of all whole chunks."""
        return sum(chunk.byte_count for chunk in self.chunks)

    @cached_property
    def maps(self) -> frozenset[int]:
        """Maps whose blocks are in whole chunks."""
        return frozenset(number for chunk in self.chunks for number in chunk.maps)

    @property
    def problems(self) -> list[str]:
        """Every problem, in words."""
        return [str(defect.error) for defect in self.scan.defects]

    @property
    def problem(self) -> str | None:
        """The damage in words: damaged chunks first, with the maps in them."""
        if not self.scan.defects:
            return None
        first, *further = self.scan.defects
        damaged, maps = self.scan.damaged_chunks, self.scan.damaged_maps
        chunks = f"{len(damaged):,} of {counted(self.scan.chunk_count, 'chunk')} ({as_ranges(damaged)})"
        whose = f" of {counted(len(maps), 'map')} ({as_ranges(maps)})" if maps else ""
        more = f"; {counted(len(further), 'further problem')} (--json tells all)" if further else ""
        return f"{chunks if damaged else 'no chunk'}{whose}; {first.error}{more}"

    def listed(self, order: Order | None, top: int | None) -> dict[str, list[dict[str, Any]]]:
        """Return the whole chunks as JSON: in file order, or the largest first; all, or the first
        ``top``."""
        if order in {"rows", "batches"}:
            raise ValueError(f"chunks of opaque bytes cannot be sorted by {order}: sort them by partition or size")
        chunks = sorted(self.chunks, key=lambda chunk: -chunk.byte_count) if order == "size" else self.chunks
        return {
            "chunks": [
                {"chunk": number, "offset": start, "byte_count": size, "map_count": len(maps), "maps": list(maps)}
                for number, start, size, maps in chunks[:top]
            ]
        }

    def as_dict(self) -> dict[str, Any]:
        """The inspection as JSON has it, without the single chunks."""
        scan, name = self.scan, self.name
        found = {
            "state": self.state,
            "path": self.path,
            "format": self.format,
            "application": None if name is None else name.application,
            "shuffle": None if name is None else name.shuffle,
            "merge": None if name is None else name.merge,
            "partition": None if name is None else name.reduce,
            "byte_count": self.byte_count,
            "chunk_count": scan.chunk_count,
            "map_count": len(self.maps),
            "codecs": list(self.codecs),
            "damaged_chunks": list(scan.damaged_chunks),
            "damaged_maps": list(scan.damaged_maps),
            "problems": self.problems,
        }
        return found if self.problem is None else {**found, "problem": self.problem}

    def __str__(self) -> str:
        if self.problem is not None:
            return f"{self.path}: damaged: {self.problem}"
        facts = f"{counted(len(self.chunks), 'chunk')} of {counted(len(self.maps), 'map')}"
        return f"{self.path}: ok ({facts}, no checksums to compare, {sized(self.byte_count)})"


class _PushedCheck(Check):
    def __init__(self, files: PushedFiles) -> None:
        self._files = files

    def verdict(self, findings: list[Problem]) -> FileResult:  # noqa: ARG002 (see Check)
        try:
            return self._files.inspect()
        except PROBLEMS as error:
            return Failure(self._files.path, error)


def _summary(group: tuple[str | None, int | None, int | None], members: Sequence[PushedInspection]) -> dict[str, Any]:
    """Sum up the pushed partitions of one attempt to merge a shuffle, as JSON. An empty partition has no files, so the
    number of empty partitions is not known."""
    maps: frozenset[int] = frozenset().union(*(each.maps for each in members))
    sizes = PartitionSizes(np.array([each.byte_count for each in members], dtype=np.int64)).as_dict()
    return {
        "format": PushedFiles.format,
        "application": group[0],
        "shuffle": group[1],
        "merge": group[2],
        "file_count": sizes.pop("partition_count"),
        "chunk_count": sum(len(each.chunks) for each in members),
        "map_count": len(maps),
        # A map's block was empty, or came too late.
        "incomplete_count": sum(len(each.maps) < len(maps) for each in members),
        **sizes,
    }
