"""What can be found out about merged partitions of Spark's push-based shuffle: chunks, their maps, codecs, damage.

Nothing here prints. The files have no checksums: what damage is, ``spill_format/spark/pushed_scan.py`` tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from shuffle.inspecting.spark_inspection import RangeSizes, sample_codecs
from spill_format.spark.discovery import PushedName, parse_pushed_name
from spill_format.spark.pushed_scan import PushedPaths, PushedScan, scan_pushed


class PushedChunk(NamedTuple):
    """A chunk that is whole: its number, where its bytes are, and the maps whose blocks they are, ascending."""

    number: int
    offset: int
    byte_count: int
    maps: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """The chunk as JSON has it."""
        return {
            "chunk": self.number,
            "offset": self.offset,
            "byte_count": self.byte_count,
            "maps": list(self.maps),
        }


@dataclass(frozen=True, eq=False, kw_only=True)  # without slots, which leave no place for what is computed once
class PushedInspection:
    """What the files of a merged partition say, sound or not.

    Attributes:
        scan: what was found in them.
        name: what their name tells; None where it is none of Spark's.
        codecs: how whole chunks begin, by ``recognize_codec``, in alphabetical order; up to 64 chunks were asked.
    """

    scan: PushedScan
    name: PushedName | None
    codecs: tuple[str, ...]

    @property
    def path(self) -> str:
        """Of the data file, whether it exists or not."""
        return self.scan.paths.data

    @cached_property
    def chunks(self) -> tuple[PushedChunk, ...]:
        """Those that are whole."""
        return tuple(whole_chunks(self.scan))

    @property
    def byte_count(self) -> int:
        """Of all chunks that are whole."""
        return sum(chunk.byte_count for chunk in self.chunks)

    @cached_property
    def maps(self) -> frozenset[int]:
        """Those in chunks that are whole."""
        return frozenset(number for chunk in self.chunks for number in chunk.maps)

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in words."""
        return [str(defect.error) for defect in self.scan.defects]

    def as_dict(self) -> dict[str, Any]:
        """The inspection as JSON has it, without the single chunks."""
        scan, name = self.scan, self.name
        return {
            "state": "damaged" if scan.defects else "ok",
            "path": self.path,
            "format": "spark-push",
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


@dataclass(frozen=True, eq=False)
class PushedShuffle:
    """The merged partitions of one try of merging a shuffle.

    Attributes:
        application, shuffle, merge: which; None where names do not tell.
        partitions: in the order of their numbers. Of empty ones there are no files, so their number is not known.
    """

    application: str | None
    shuffle: int | None
    merge: int | None
    partitions: tuple[PushedInspection, ...]

    @property
    def sizes(self) -> RangeSizes:
        """Of the partitions that there are."""
        return RangeSizes(np.array([each.byte_count for each in self.partitions], dtype=np.int64))

    @cached_property
    def maps(self) -> frozenset[int]:
        """Those in any partition."""
        return frozenset().union(*(each.maps for each in self.partitions))

    @property
    def incomplete_count(self) -> int:
        """Partitions that lack a map which others have: its block was empty, or came too late."""
        return sum(len(each.maps) < len(self.maps) for each in self.partitions)

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it."""
        sizes = self.sizes.as_dict()
        return {
            "format": "spark-push",
            "application": self.application,
            "shuffle": self.shuffle,
            "merge": self.merge,
            "file_count": sizes.pop("partition_count"),
            "chunk_count": sum(len(each.chunks) for each in self.partitions),
            "map_count": len(self.maps),
            "incomplete_count": self.incomplete_count,
            **sizes,
        }


def inspect_pushed(paths: PushedPaths) -> PushedInspection:
    """Look at what the files of a merged partition say, and at the start of some chunks.

    Raises:
        FileNotFoundError: there are none.
        SpillError: one is a device, pipe or socket.
        ModuleNotFoundError: pyroaring is not installed.
        OSError: one cannot be read. Damage is no exception here: all of it is in the result.
    """
    scan = scan_pushed(paths)
    whole = list(whole_chunks(scan))
    codecs: tuple[str, ...] = ()
    if whole:
        descriptor = os.open(paths.data, os.O_RDONLY | os.O_CLOEXEC)
        try:
            starts, lengths = ([chunk[field] for chunk in whole] for field in (1, 2))
            codecs = sample_codecs(descriptor, paths.data, np.array(starts), np.array(lengths))
        finally:
            os.close(descriptor)
    return PushedInspection(scan=scan, name=parse_pushed_name(paths.data), codecs=codecs)


def whole_chunks(scan: PushedScan) -> Iterator[PushedChunk]:
    """The chunks that nothing is wrong with, also those behind a damaged one."""
    damaged = set(scan.damaged_chunks)
    for number in range(scan.chunk_count):
        if number not in damaged:
            start, end = scan.offsets[number : number + 2].tolist()
            yield PushedChunk(number, start, end - start, tuple(scan.bitmaps[number]))


def by_shuffle(partitions: Iterable[PushedInspection]) -> list[PushedShuffle]:
    """Merged partitions put together by the try of merging a shuffle."""
    groups: dict[tuple[str | None, int | None, int | None], list[PushedInspection]] = {}
    for each in partitions:
        group = (None, None, None) if each.name is None else each.name[:3]
        groups.setdefault(group, []).append(each)
    return [PushedShuffle(*group, tuple(members)) for group, members in groups.items()]
