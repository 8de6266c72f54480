"""Opaque bytes in Spark's layout: map outputs, or spills, as ``X.data``, ``X.index`` and ``X.checksum.*``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike

import numpy as np

from shuffle.merging.formats.protocol import TargetState, Trailer
from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import NO_FILE, Source, SourceSearch
from shuffle.options import MergeOptions
from shuffle.warning import warn
from spill_format.errors import CorruptError
from spill_format.layout import PartitionLayout
from spill_format.range_checksums import RangeChecksums, combine
from spill_format.spark.codecs import check_concatenable
from spill_format.spark.discovery import find_files_of, find_outputs
from spill_format.spark.outputs import OutputPaths, SparkOutput, index_path_of, paths_beside, read_output
from spill_format.spark.publication import finish_output, publish_output
from spill_format.storage.identity import FileIdentity
from spill_format.storage.publication import PendingFile, is_there


class SparkFormat:
    """See ``MergeFormat``. Ranges are concatenated as they are, whatever they hold.

    Args:
        shuffle: which shuffle's outputs a directory stands for; None where there is only one in it.
        codec: what ranges are compressed with; None where nobody says. See ``check_concatenable``.

    Raises:
        ValueError: streams of the codec cannot be concatenated.
    """

    def __init__(self, shuffle: int | None = None, codec: str | None = None) -> None:
        if codec is not None:
            check_concatenable(codec)
        self._shuffle = shuffle

    def open_sources(self, paths: Sequence[str | PathLike[str]], search: SourceSearch) -> list[Source]:
        """See ``MergeFormat``. Directories stand, at the place of the first of them, for all outputs of a shuffle below
        them, in the order of maps."""
        listed = [os.fspath(path) for path in paths]
        roots = [path for path in listed if os.path.isdir(path)]
        found: list[OutputPaths] = []
        for number, path in enumerate(listed):
            if path not in roots:
                found.append(find_paths(path))
            elif number == listed.index(roots[0]):
                found += [each for each in find_shuffle(roots, self._shuffle) if not search.is_target(each.data)]
        if roots and len({os.path.realpath(each.data) for each in found}) < len(found):
            raise ValueError(f"a directory ({', '.join(roots)}) holds a file that is also given by its name")
        return search.open_all(found, lambda paths: _source(read_output(paths)))

    def check_agreement(
        self, sources: Sequence[Source], *, mix_partitioners: bool = False, missing_spills: int | None = 0
    ) -> None:
        """Nothing but the number of partitions can be compared: the bytes are opaque."""

    def header(self, sources: Sequence[Source]) -> bytes:  # noqa: ARG002 -- see MergeFormat
        """None: the first range is at offset 0."""
        return b""

    def trailer(self, sources: Sequence[Source], plan: MergePlan) -> Trailer:
        """No bytes: what there is to say is in the index and in the file of checksums."""
        checksums = _combined_checksums(sources)
        if checksums is not None:
            of_nothing = np.uint32(checksums.algorithm.of_nothing)
            values = np.where(np.diff(plan.target_offsets) > 0, checksums.values, of_nothing)
            checksums = RangeChecksums(checksums.algorithm, values)
        return Trailer((), PartitionLayout(plan.target_offsets), checksums)

    def check_target(self, target: str | PathLike[str]) -> None:
        """The index is found by the data file's name."""
        index_path_of(target)

    def compare_target(self, target: str | PathLike[str], trailer: Trailer) -> TargetState:
        """See ``MergeFormat``. What is recorded alike, checksums included, is the same."""
        paths = paths_beside(target)
        if not is_there(paths.data):
            return "none"
        if not is_there(paths.index):
            return "unfinished"
        if not _is_recorded_alike(paths, trailer):
            return "other"
        return "same" if trailer.checksums is not None else "alike"

    def finish(self, target: str | PathLike[str], trailer: Trailer, options: MergeOptions) -> None:
        """See ``finish_output``."""
        finish_output(target, trailer.layout.offsets, trailer.checksums, durable=options.syncs)

    def publish(self, pending: PendingFile, trailer: Trailer, options: MergeOptions) -> None:
        """See ``publish_output``."""
        publish_output(
            pending,
            trailer.layout.offsets,
            trailer.checksums,
            overwrite=options.overwrite,
            durable=options.syncs,
        )

    def files_of(self, target: str | PathLike[str]) -> tuple[str, ...]:
        """The data, its checksums, and the index."""
        paths = paths_beside(target)
        return tuple(path for path in (paths.data, paths.checksum, paths.index) if path is not None)

    def delete(self, source: Source) -> None:
        """Remove an output, the index first: what is left after a crash is no output."""
        for companion in source.companions:
            os.unlink(companion)
        if source.identity != NO_FILE:
            os.unlink(source.path)


SPARK = SparkFormat()


def find_paths(data_path: str) -> OutputPaths:
    """The files of the output with that data file: beside it, or where Spark's hashing has put them.

    Raises:
        ValueError: the name does not end with ``.data``.
        OSError: a directory cannot be listed.
    """
    beside = paths_beside(data_path)
    if is_there(beside.index) and beside.checksum is not None:
        return beside
    return find_files_of(data_path) or beside


def find_shuffle(roots: Sequence[str], shuffle: int | None) -> list[OutputPaths]:
    """The outputs of one shuffle below directories, in the order of maps.

    Raises:
        ValueError: there are none, or those of several shuffles and none was chosen.
        SpillError, OSError: see ``find_outputs``.
    """
    outputs = find_outputs(roots, shuffle)
    shuffles = sorted({name.shuffle for name, _ in outputs})
    if not outputs:
        which = "any shuffle" if shuffle is None else f"shuffle {shuffle}"
        raise ValueError(f"no outputs of {which}: looked for shuffle_*_*_*.index below {', '.join(roots)}")
    if len(shuffles) > 1:
        raise ValueError(
            f"outputs of several shuffles ({', '.join(map(str, shuffles))}) below {', '.join(roots)}: say which one "
            "with --shuffle or SparkFormat(shuffle=…)"
        )
    return [paths for _, paths in outputs]


def _source(output: SparkOutput) -> Source:
    paths, status = output.paths, output.status
    identity = NO_FILE if status is None else FileIdentity.of(status)
    companions = (paths.index,) if paths.checksum is None else (paths.index, paths.checksum)
    return Source(paths.data, output.layout, identity, checksums=output.checksums, companions=companions)


def _combined_checksums(sources: Sequence[Source]) -> RangeChecksums | None:
    """Those of the target, where every source that has bytes recorded some, of one algorithm."""
    filled = [source for source in sources if source.layout.byte_count] or list(sources)
    recorded = [source.checksums for source in filled if source.checksums is not None]
    if not recorded:
        return None
    algorithm = recorded[0].algorithm
    for source in filled:
        if source.checksums is None or source.checksums.algorithm != algorithm:
            warn(f"the target gets no checksums: {source.path} has none of {algorithm.name}, as other sources have")
            return None
    return combine(recorded, [source.layout.lengths for source in filled])


def _is_recorded_alike(paths: OutputPaths, trailer: Trailer) -> bool:
    """Whether an existing output is sound and records the same offsets and checksums."""
    try:
        existing = read_output(paths)
    except CorruptError:
        return False
    if not np.array_equal(existing.layout.offsets, trailer.layout.offsets):
        return False
    if existing.checksums is None or trailer.checksums is None:
        return existing.checksums is trailer.checksums
    return existing.checksums.algorithm == trailer.checksums.algorithm and np.array_equal(
        existing.checksums.values, trailer.checksums.values
    )
