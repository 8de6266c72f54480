"""What can be found out about outputs in Spark's layout: sizes, skew, codecs by their magic, and damage by checksums.

Nothing here prints. What ranges hold is opaque: no row is counted, and none is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from spill_format.errors import ChecksumError
from spill_format.layout import Int64Array
from spill_format.range_checksums import RangeChecksums
from spill_format.spark.codecs import MAGIC_BYTES, recognize_codec
from spill_format.spark.outputs import OutputPaths, SparkOutput, read_output
from spill_format.storage.local import read_exactly

_READ_BYTES = 1 << 20  # stays in the cache until its checksum is computed
_CODEC_SAMPLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class RangeSizes:
    """How large partitions of opaque bytes are, in one output or in several together: ``byte_counts``, ``int64[P]``."""

    byte_counts: Int64Array

    @property
    def skew(self) -> float | None:
        """The largest partition over the median one; None where that is 0."""
        median = float(np.median(self.byte_counts))
        return float(self.byte_counts.max()) / median if median else None

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "partition_count": len(self.byte_counts),
            "range_bytes": sum(self.byte_counts.tolist()),  # of sparse files, may be more than 63 bits hold
            "empty_partition_count": int(np.count_nonzero(self.byte_counts == 0)),
            "smallest_bytes": int(self.byte_counts.min()),
            "median_bytes": float(np.median(self.byte_counts)),
            "largest_bytes": int(self.byte_counts.max()),
            "skew": self.skew,
        }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SparkInspection:
    """What a sound output says of itself.

    Attributes:
        path: of its data file, whether that exists or not.
        byte_count: of all ranges.
        checksums: the algorithm of the recorded checksums, or None.
        codecs: how ranges begin, by ``recognize_codec``, in alphabetical order; up to 64 ranges, spread over the file,
            were asked.
        sizes: of its partitions.
    """

    path: str
    byte_count: int
    checksums: str | None
    codecs: tuple[str, ...]
    sizes: RangeSizes

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "path": self.path,
            "format": "spark",
            "byte_count": self.byte_count,
            "checksums": self.checksums,
            "codecs": list(self.codecs),
            **self.sizes.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkVerification:
    """What recomputing an output's checksums showed; its structure was sound.

    Attributes:
        path: of its data file.
        partition_count, byte_count: of the output.
        checksums: the algorithm of the recorded checksums; None where there are none, so that nothing was compared.
        damaged_partitions: those whose bytes are not the ones that were written, ascending.
        first_damage: the error for the first of them, or None.
    """

    path: str
    partition_count: int
    byte_count: int
    checksums: str | None
    damaged_partitions: tuple[int, ...]
    first_damage: ChecksumError | None

    def as_dict(self) -> dict[str, Any]:
        """The verification as JSON has it."""
        return {
            "path": self.path,
            "format": "spark",
            "partition_count": self.partition_count,
            "byte_count": self.byte_count,
            "checksums": self.checksums,
            "damaged_partitions": list(self.damaged_partitions),
        }


def inspect_output(paths: OutputPaths) -> SparkInspection:
    """Read and check what an output says of itself, and look at the start of some ranges.

    Raises:
        CorruptError, TruncatedError: it is damaged; see ``read_output``.
        OSError: it cannot be read.
    """
    with opened_output(paths) as (descriptor, output):
        return SparkInspection(
            path=paths.data,
            byte_count=output.layout.byte_count,
            checksums=None if output.checksums is None else output.checksums.algorithm.name,
            codecs=sample_codecs(descriptor, paths.data, output.layout.offsets[:-1], output.layout.lengths),
            sizes=RangeSizes(output.layout.lengths),
        )


def verify_output(paths: OutputPaths, progress: Callable[[int], None] | None = None) -> SparkVerification:
    """Check an output's structure, and recompute the checksums of its ranges where some are recorded.

    Args:
        paths: the output.
        progress: told how many further bytes were read.

    Raises:
        As ``inspect_output`` does. Damage to ranges is no exception here: all of it is in the result.
    """
    with opened_output(paths) as (descriptor, output):
        damages = []
        if output.checksums is not None:
            damages = list(_damages(descriptor, output, output.checksums, progress or (lambda _: None)))
        return SparkVerification(
            path=paths.data,
            partition_count=output.layout.partition_count,
            byte_count=output.layout.byte_count,
            checksums=None if output.checksums is None else output.checksums.algorithm.name,
            damaged_partitions=tuple(error.partition for error in damages if error.partition is not None),
            first_damage=damages[0] if damages else None,
        )


def combined_sizes(sizes: Sequence[RangeSizes]) -> RangeSizes | None:
    """The sizes that a merge would have, or None where it could not be: partition counts differ, there is nothing, or
    more than a file can hold."""
    if len({len(each.byte_counts) for each in sizes}) != 1:
        return None
    if sum(int(each.byte_counts.sum()) for each in sizes) >= 2**63:
        return None
    return RangeSizes(np.sum([each.byte_counts for each in sizes], axis=0))


def sample_codecs(descriptor: int, path: str, starts: Int64Array, lengths: Int64Array) -> tuple[str, ...]:
    """How some of the ranges of an open file begin, by ``recognize_codec``, in alphabetical order.

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
    """The data file open for reading, with what its companions say; an empty file's descriptor where there is none.

    Raises:
        As ``inspect_output`` does.
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
    return output, os.open(os.devnull if output.status is None else paths.data, os.O_RDONLY | os.O_CLOEXEC)


def _damages(
    descriptor: int, output: SparkOutput, recorded: RangeChecksums, progress: Callable[[int], None]
) -> Iterator[ChecksumError]:
    algorithm = recorded.algorithm
    offsets = output.layout.offsets.tolist()
    for partition, expected in enumerate(recorded.values.tolist()):
        start, end = offsets[partition : partition + 2]
        computed = algorithm.of_nothing
        for offset in range(start, end, _READ_BYTES):
            piece = read_exactly(descriptor, offset, min(_READ_BYTES, end - offset), output.paths.data)
            computed = algorithm.update(piece, computed)
            progress(len(piece))
        if computed != expected:
            yield ChecksumError(
                f"{algorithm.name} of the range of {end - start} bytes",
                path=output.paths.data,
                partition=partition,
                offset=start,
                expected=f"{expected:08x}",
                actual=f"{computed:08x}",
            )
