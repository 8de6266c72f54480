"""Merging map outputs into Spark's push-based layout: one file a partition, in chunks whose maps are recorded.

Each file is planned, copied, checked and published as any merge is; here is only what is around that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from typing import Any, Unpack

import numpy as np

from shuffle.merging.formats import SPARK, SparkFormat
from shuffle.merging.plan import plan_merge
from shuffle.merging.repetition import holds_the_same_bytes
from shuffle.merging.sources import Source, SourceSearch, check_partition_counts, list_of
from shuffle.merging.target_writer import PreparedMerge, write_merged
from shuffle.option_kinds import options_of
from shuffle.options import MergeKeywords, MergeOptions
from shuffle.wording import counted, sized
from spill_format.errors import SpillError, TargetExistsError
from spill_format.layout import PartitionLayout
from spill_format.spark.discovery import PushedName, parse_name, parse_pushed_name
from spill_format.spark.outputs import DATA_SUFFIX, encode_index, index_path_of, read_companion
from spill_format.spark.publication import finish_with_companions, publish_with_companions
from spill_format.spark.pushed import MAXIMUM_MAP, cut_chunks, encode_meta, read_pushed
from spill_format.spark.pushed_scan import meta_path_of
from spill_format.storage.publication import is_there, open_pending

CHUNK_BYTES = 2 << 20
"""The default of Spark's minChunkSizeInMergedShuffleFile."""

_APPLYING = {"transfer_to", "method", "threads", "overwrite", "durable", "verify"}  # the options with an effect here


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What merging into the push-based layout did.

    Attributes:
        directory: of the pushed partitions.
        source_count: map outputs merged.
        duplicate_maps: those that were given more than once, and of which the first was taken.
        partition_count: P.
        file_count: partitions that have bytes, each a ``.data`` with ``.index`` and ``.meta``.
        repeated_count: of these, how many were there already, as the result of this very merge.
        chunk_count: chunks of all files.
        byte_count: bytes of all files.
        seconds: from opening the first source to publication of the last file.
    """

    directory: str
    source_count: int
    duplicate_maps: tuple[int, ...]
    partition_count: int
    file_count: int
    repeated_count: int
    chunk_count: int
    byte_count: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        """The report in one line."""
        duplicates = f", {counted(len(self.duplicate_maps), 'duplicate')} dropped" if self.duplicate_maps else ""
        filled = f"{self.file_count:,} of {counted(self.partition_count, 'partition')} not empty"
        return (
            f"{counted(self.source_count, 'map')}{duplicates}, {filled}, {counted(self.chunk_count, 'chunk')}, "
            f"{sized(self.byte_count)} in {self.seconds:.3f} s"
        )


def merge_pushed(
    sources: Iterable[str | PathLike[str]],
    directory: str | PathLike[str],
    options: MergeOptions | None = None,
    *,
    application: str,
    spark_format: SparkFormat = SPARK,
    merge_id: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
    **keywords: Unpack[MergeKeywords],
) -> PushReport:
    """Merge the map outputs of one shuffle into a file for each partition that is not empty, as an external shuffle
    service does with the blocks pushed to it.

    Args:
        sources: map outputs named as Spark names them, or directories of them. Blocks stand in the order of maps; of a
            map that is there more than once, the first counts.
        directory: where the files go, which are ``shuffleMerged_<application>_<shuffle>_<merge_id>_<partition>.*``; it
            must exist.
        options, keywords: see ``MergeOptions``; each option is also a keyword. Only ``transfer_to``, ``method``,
            ``threads``, ``overwrite``, ``durable`` and ``verify`` apply; each other one is refused.
        application: the application's id.
        spark_format: which shuffle, which codec.
        merge_id: tells one try of merging a shuffle from the next.
        chunk_bytes: a chunk ends as soon as it has so many.

    Raises:
        ValueError: the name of a source does not tell its map, or tells one that a bitmap cannot hold; sources are of
            several shuffles; an argument is out of its range.
        TargetExistsError: a partition is there, and is not the result of this very merge.
        ModuleNotFoundError: pyroaring is not installed.
        SpillError, OSError: as for ``merge``. Partitions published before the error remain, and are recognized.
    """
    started = time.perf_counter()
    options = options_of(MergeOptions, options, keywords)
    _check_arguments(options, application, merge_id, chunk_bytes)
    shuffle, by_map, duplicates = _by_map(_opened(sources, spark_format))
    check_partition_counts(list(by_map.values()))
    partition_count = next(iter(by_map.values())).layout.partition_count
    totals = {"file_count": 0, "repeated_count": 0, "chunk_count": 0, "byte_count": 0}
    for partition in range(partition_count):
        blocks = {number: source for number, source in by_map.items() if source.layout.lengths[partition]}
        if not blocks:
            continue
        name = PushedName(application, shuffle, merge_id, partition)
        target = os.path.join(os.fspath(directory), f"{name}{DATA_SUFFIX}")
        merge = _PartitionMerge(target, partition, blocks, chunk_bytes)
        totals["repeated_count"] += merge.run(options)
        totals["file_count"] += 1
        totals["chunk_count"] += len(merge.chunks)
        totals["byte_count"] += merge.prepared.plan.stop
    return PushReport(
        directory=os.fspath(directory),
        source_count=len(by_map),
        duplicate_maps=duplicates,
        partition_count=partition_count,
        seconds=time.perf_counter() - started,
        **totals,
    )


def _opened(sources: Iterable[str | PathLike[str]], spark_format: SparkFormat) -> list[Source]:
    search = SourceSearch()
    opened = [source for path in list_of(sources) for source in spark_format.open_sources([path], search)]
    search.settle()
    return opened


def _check_arguments(options: MergeOptions, application: str, merge_id: int, chunk_bytes: int) -> None:
    name = PushedName(application, 0, 0, 0)
    if parse_pushed_name(f"{name}{DATA_SUFFIX}") != name:
        raise ValueError(f"application is part of the names of files, and cannot be {application!r}")
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be 1 or more, not {chunk_bytes}")
    if merge_id < 0:
        raise ValueError(f"merge_id must be 0 or more, not {merge_id}")
    for option in fields(options):
        if option.name not in _APPLYING and getattr(options, option.name) != option.default:
            raise ValueError(f"a push-based merge does not know {option.name}: leave this option out")


class _PartitionMerge:
    """The merge of one partition's blocks, by the numbers of their maps."""

    def __init__(self, target: str, partition: int, blocks: dict[int, Source], chunk_bytes: int) -> None:
        sources = [_only(source, partition) for source in blocks.values()]
        lengths = np.array([source.layout.byte_count for source in sources], dtype=np.int64)
        ends = cut_chunks(lengths, chunk_bytes)
        maps = list(blocks)
        self._target = target
        self.chunks = [maps[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        self.prepared = PreparedMerge(sources, SPARK, b"", plan_merge([source.layout for source in sources]))
        block_ends = np.cumsum(lengths)
        offsets = np.array([0, *(block_ends[end - 1] for end in ends)], dtype=np.int64)
        self._contents = {meta_path_of(target): encode_meta(self.chunks), index_path_of(target): encode_index(offsets)}

    def run(self, options: MergeOptions) -> bool:
        """Write and publish it; whether it was there already."""
        if not options.overwrite and self._is_there_or_finished(options):
            return True
        try:
            with open_pending(self._target, overwrite=options.overwrite, durable=options.durable) as pending:
                write_merged(self.prepared, pending, options)
                publish_with_companions(pending, self._contents, overwrite=options.overwrite, durable=options.durable)
        except TargetExistsError:
            # Another merge may have published the data alone so far.
            if not self._is_there_or_finished(options):
                raise
            return True
        return False

    def _is_there_or_finished(self, options: MergeOptions) -> bool:
        """Whether it is there, or its data are, which an interrupted merge left without their companions."""
        if is_there(index_path_of(self._target)) or not is_there(self._target):
            return self._is_there()
        if not holds_the_same_bytes(self.prepared, self._target):
            return False
        try:
            finish_with_companions(self._target, self._contents, durable=options.durable)
        except TargetExistsError:  # by now: who published it was not dead but slow
            return self._is_there()
        return True

    def _is_there(self) -> bool:
        """Whether the files hold the very same chunks, of the same maps."""
        try:
            read_pushed(self._target)
            for path, content in self._contents.items():
                if read_companion(path) != content:
                    return False
        except (SpillError, FileNotFoundError):
            return False
        return holds_the_same_bytes(self.prepared, self._target)


def _by_map(sources: Sequence[Source]) -> tuple[int, dict[int, Source], tuple[int, ...]]:
    """The shuffle, its outputs by map in ascending order, and the maps that were there more than once."""
    shuffles: set[int] = set()
    by_map: dict[int, Source] = {}
    duplicates: set[int] = set()
    for source in sources:
        name = parse_name(source.path)
        if name is None:
            raise ValueError(f"{source.path}: the name does not tell the map, as shuffle_0_7_0.data does")
        if name.map > MAXIMUM_MAP:
            raise ValueError(f"{source.path}: a bitmap holds maps up to {MAXIMUM_MAP}, not {name.map}")
        shuffles.add(name.shuffle)
        if by_map.setdefault(name.map, source) is not source:
            duplicates.add(name.map)
    if len(shuffles) != 1:
        found = ", ".join(map(str, sorted(shuffles))) or "none"
        raise ValueError(f"sources of one shuffle are needed; they are of {found}")
    return shuffles.pop(), dict(sorted(by_map.items())), tuple(sorted(duplicates))


def _only(source: Source, partition: int) -> Source:
    """A source that has one partition alone."""
    layout = PartitionLayout(source.layout.offsets[partition : partition + 2].copy())
    return replace(source, layout=layout, checksums=None, companions=())
