"""Spark's map outputs, and merges of several, as the commands look into them: sizes, codecs by their magic, checksums.

What ranges hold is opaque: no row is counted, and none is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shuffle.inspecting.checking import Check, Company, Progress, RangesCheck
from shuffle.inspecting.ranges import lost_bytes_are_damage, read_pieces, refuse_chunks, spans_of
from shuffle.inspecting.results import FileRepair, FileVerification, SizedInspection
from shuffle.inspecting.sizes import PartitionSizes, combined
from shuffle.merging.formats.spark import SPARK, find_paths
from shuffle.merging.sources import NO_FILE, Source
from shuffle.numbering import Numbers
from spill_format.errors import ChecksumError, CorruptError, SpillError
from spill_format.layout import Int64Array
from spill_format.spark.codecs import MAGIC_BYTES, recognize_codec
from spill_format.spark.discovery import find_outputs, parse_name
from spill_format.spark.outputs import OutputPaths, SparkOutput, read_output
from spill_format.storage.local import open_regular, read_exactly

_CODEC_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class SparkFiles:
    """See ``Kind``. The files of one output."""

    paths: OutputPaths
    format: ClassVar[str] = "spark"
    is_repairable: ClassVar[bool] = False

    @classmethod
    def at(cls, path: str) -> SparkFiles:
        """Find the output that has a data file; ValueError where the file's name does not end with .data."""
        return cls(find_paths(path))

    @classmethod
    def below(cls, roots: Sequence[str]) -> list[SparkFiles]:
        """Find the outputs of all shuffles below directories; errors as for ``find_outputs``."""
        return [cls(paths) for _, paths in find_outputs(roots)]

    @property
    def path(self) -> str:
        """See ``Kind``."""
        return self.paths.data

    @property
    def byte_count(self) -> int:
        """See ``Kind``."""
        return os.path.getsize(self.path) if os.path.isfile(self.path) else 0

    def inspect(self) -> SparkInspection:
        """See ``Kind``."""
        with opened_output(self.paths) as (descriptor, output):
            layout = output.layout
            return SparkInspection(
                path=self.path,
                byte_count=layout.byte_count,
                checksums=_algorithm_of(output),
                codecs=sample_codecs(descriptor, self.path, layout.offsets[:-1], layout.lengths),
                sizes=PartitionSizes(layout.lengths),
            )

    def check(self, *, fast: bool, progress: Progress) -> Check:
        """See ``Kind``."""
        return _SparkCheck(self.paths, fast=fast, progress=progress)

    def repair(self, target: str, *, overwrite: bool, durable: bool, progress: Progress) -> FileRepair:  # noqa: ARG002 (see Kind)
        """Refuse: nothing tells what is whole of opaque bytes."""
        raise SpillError(
            "Spark's map outputs cannot be repaired, since their bytes are opaque",
            path=self.path,
            advice="run the map task again",
        )

    def raw(self, partitions: Numbers | None, chunks: Numbers | None) -> Iterator[bytes]:
        """See ``Kind``."""
        refuse_chunks(chunks, self.path)
        with opened_output(self.paths) as (descriptor, output):
            spans = spans_of(output.layout.offsets, partitions, self.path, "partition")
            yield from read_pieces(descriptor, self.path, spans)

    @staticmethod
    def shuffles(files: Sequence[Any]) -> list[dict[str, Any]]:
        """Sum up the outputs of each shuffle, as JSON has it. The shuffle is None where names do not tell it; sizes are
        missing where the outputs have different numbers of partitions."""
        groups: dict[int | None, list[PartitionSizes]] = {}
        for file in files:
            if isinstance(file, SparkInspection):
                name = parse_name(file.path)
                groups.setdefault(None if name is None else name.shuffle, []).append(file.sizes)
        rows = []
        for shuffle, sizes in groups.items():
            together = combined(sizes)
            summary = {} if together is None else together.as_dict()
            rows.append({"format": "spark", "shuffle": shuffle, "output_count": len(sizes), **summary})
        return rows


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SparkInspection(SizedInspection):
    """See ``SizedInspection``; codecs are those of ``recognize_codec``, in alphabetical order.

    Attributes:
        checksums: the algorithm of the recorded checksums, or None.
    """

    checksums: str | None
    format: ClassVar[str] = "spark"

    def details(self) -> dict[str, Any]:
        """See ``SizedInspection``."""
        return {"checksums": self.checksums}


class _SparkCheck(RangesCheck):
    def __init__(self, paths: OutputPaths, *, fast: bool, progress: Progress) -> None:
        super().__init__(paths.data, fast=fast)
        self._paths = paths
        self._progress = progress
        self._output: SparkOutput | None = None
        self._descriptor = -1

    def open(self, resources: ExitStack) -> Int64Array:
        self._descriptor, self._output = resources.enter_context(opened_output(self._paths))
        return self._output.layout.offsets

    def check(self, partition: int) -> None:
        assert self._output is not None  # without one there are no partitions to check
        if (recorded := self._output.checksums) is None:
            return
        algorithm, expected = recorded.algorithm, int(recorded.values[partition])
        start, stop = self._output.layout.offsets[partition : partition + 2].tolist()
        computed = algorithm.of_nothing
        with lost_bytes_are_damage(self._path, partition, start):
            for piece in read_pieces(self._descriptor, self._path, [(start, stop)]):
                computed = algorithm.update(piece, computed)
                self._progress(len(piece))
        if computed != expected:
            raise ChecksumError(
                f"{algorithm.name} of the range of {stop - start} bytes",
                path=self._path,
                partition=partition,
                offset=start,
                expected=f"{expected:08x}",
                actual=f"{computed:08x}",
            )

    def company(self) -> Company | None:
        """The outputs of one shuffle."""
        name = parse_name(self._path)
        if self._output is None or name is None:
            return None
        return Company((name.shuffle,), SPARK, Source(self._path, self._output.layout, NO_FILE))

    def outcome(self, damages: list[CorruptError]) -> FileVerification:
        assert self._output is not None  # it was found sound
        return FileVerification(
            path=self._path,
            format=SparkFiles.format,
            byte_count=self._output.layout.byte_count,
            partition_count=self._output.layout.partition_count,
            checksums=_algorithm_of(self._output),
            fast=self._fast,
            damaged_partitions=np.array([error.partition for error in damages], dtype=np.int64),
            first_damage=damages[0] if damages else None,
        )


def sample_codecs(descriptor: int, path: str, starts: Int64Array, lengths: Int64Array) -> tuple[str, ...]:
    """Look how some ranges of an open file begin, by ``recognize_codec``; the names in alphabetical order.

    Args:
        descriptor, path: of the file.
        starts, lengths: ``int64[N]``, of its ranges; up to 64 that are not empty are looked at, spread over the file.

    Raises:
        SpillError: the file is shorter than these say.
        OSError: it cannot be read.
    """
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return ()
    chosen = np.unique(filled[np.arange(_CODEC_SAMPLES) * len(filled) // _CODEC_SAMPLES])
    sampled = zip(starts[chosen].tolist(), np.minimum(lengths[chosen], MAGIC_BYTES).tolist(), strict=True)
    return tuple(sorted({recognize_codec(read_exactly(descriptor, start, length, path)) for start, length in sampled}))


@contextmanager
def opened_output(paths: OutputPaths) -> Iterator[tuple[int, SparkOutput]]:
    """Open the data file for reading, and yield its descriptor and what its companions say; without a data file, the
    descriptor of an empty file.

    Raises:
        CorruptError, TruncatedError: it is damaged; see ``read_output``.
        OSError: it cannot be read.
    """
    output, descriptor = _opened_once(paths)
    # Where the output was replaced meanwhile, its layout is not that of the file that was opened.
    while output.status is not None and not os.path.samestat(output.status, os.fstat(descriptor)):
        os.close(descriptor)
        output, descriptor = _opened_once(paths)
    try:
        yield descriptor, output
    finally:
        os.close(descriptor)


def _opened_once(paths: OutputPaths) -> tuple[SparkOutput, int]:
    output = read_output(paths)
    if output.status is None:
        return output, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return output, open_regular(paths.data)


def _algorithm_of(output: SparkOutput) -> str | None:
    return None if output.checksums is None else output.checksums.algorithm.name
