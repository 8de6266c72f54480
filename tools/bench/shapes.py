"""The shapes of spills that merging is measured with, and the writing of such spills: seeded, of ranges that vary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spill_format import SpillWriter

Offsets = npt.NDArray[np.int64]

_KIB = 1 << 10
_MESSAGE_BYTES = 160  # of a record batch message with one column of int64, besides its 8 bytes a row
_SEED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A kind of merge, and what is asked of it.

    Attributes:
        name: for choosing it.
        source_count, partition_count: S and P.
        range_bytes: average size of the S × P ranges; each has from half to one and a half of it.
        place: ``disk``, the file system of the work directory; ``xfs`` and ``tmpfs`` are mounted for the purpose.
        form: ``arrow`` spills, or ``opaque`` bytes in Spark's .data and .index.
        alignment: of Arrow spills, in bytes.
        target_to_spark: how many times faster than Spark it shall be.
        target_to_bound: what part of the bound's rate it shall reach, or None.
    """

    name: str
    source_count: int
    partition_count: int
    range_bytes: int
    target_to_spark: float
    target_to_bound: float | None = None
    place: Literal["disk", "xfs", "tmpfs"] = "disk"
    form: Literal["arrow", "opaque"] = "arrow"
    alignment: int = 64

    @property
    def byte_count(self) -> int:
        """Bytes of all ranges, about."""
        return self.source_count * self.partition_count * self.range_bytes

    @property
    def dimensions(self) -> str:
        """Sources × partitions × average range, in words."""
        size = self.range_bytes
        average = f"{size} B" if size < 512 else f"{size / _KIB:.2g} KiB" if size < _KIB else f"{size // _KIB} KiB"
        form = " (opaque bytes)" if self.form == "opaque" else ""
        return f"{self.source_count} × {self.partition_count:,} × {average}{form}"

    def reduced(self) -> Shape:
        """The same with an eighth of the partitions, for a quick look."""
        return replace(self, partition_count=self.partition_count // 8)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            name="200B",
            source_count=20,
            partition_count=20_000,
            range_bytes=200,
            form="opaque",
            target_to_spark=40,
        ),
        Shape(name="700B", source_count=100, partition_count=1_000, range_bytes=716, target_to_spark=12),
        Shape(name="4KiB", source_count=64, partition_count=2_000, range_bytes=4 * _KIB, target_to_spark=7),
        Shape(
            name="16KiB",
            source_count=32,
            partition_count=1_000,
            range_bytes=16 * _KIB,
            target_to_spark=4,
            target_to_bound=0.6,
        ),
        Shape(
            name="640KiB",
            source_count=8,
            partition_count=200,
            range_bytes=640 * _KIB,
            target_to_spark=2,
            target_to_bound=0.7,
        ),
        Shape(
            name="640KiB-xfs",
            source_count=8,
            partition_count=200,
            range_bytes=640 * _KIB,
            place="xfs",
            alignment=4096,
            target_to_spark=8,
            target_to_bound=4,
        ),
        Shape(
            name="640KiB-tmpfs",
            source_count=8,
            partition_count=200,
            range_bytes=640 * _KIB,
            place="tmpfs",
            target_to_spark=1.5,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Spills of a shape.

    Attributes:
        paths: in the order of merging.
        extension: of a target that they are merged into.
        offsets_path: a file of all their offsets, big-endian int64, (S, P + 1).
        byte_count: bytes of all ranges.
    """

    paths: Sequence[Path]
    extension: str
    offsets_path: Path
    byte_count: int


def write_sources(shape: Shape, directory: Path) -> Sources:
    """Write a shape's spills into a directory: the same ones each time."""
    random = np.random.default_rng(_SEED)
    if shape.form == "opaque":
        extension, write = ".data", _write_opaque
    else:
        extension, write = ".spill.arrow", _write_arrow
    paths = [directory / f"spill-{number}{extension}" for number in range(shape.source_count)]
    offsets = np.array(list(write(shape, paths, random)))
    offsets_path = directory / "offsets"
    offsets.astype(">i8").tofile(offsets_path)
    return Sources(paths, extension.removeprefix(".spill"), offsets_path, int((offsets[:, -1] - offsets[:, 0]).sum()))


def _write_opaque(shape: Shape, paths: Sequence[Path], random: np.random.Generator) -> Iterator[Offsets]:
    for path in paths:
        offsets = np.concatenate([[0], np.cumsum(_lengths(shape, random))])
        path.write_bytes(random.bytes(int(offsets[-1])))
        offsets.astype(">i8").tofile(path.with_suffix(".index"))
        yield offsets


def _write_arrow(shape: Shape, paths: Sequence[Path], random: np.random.Generator) -> Iterator[Offsets]:
    # A range is a slice of one long random column, from anywhere: cheap, and no two are alike.
    row_bytes = 8
    values = random.integers(np.iinfo(np.int64).max, size=3 * shape.range_bytes // row_bytes + 1000)
    column = pa.record_batch({"value": pa.array(values)})
    for path in paths:
        rows = np.maximum((_lengths(shape, random) - _MESSAGE_BYTES) // row_bytes, 1)
        starts = random.integers(len(values) - rows)
        with SpillWriter(path, column.schema, shape.partition_count, alignment=shape.alignment) as writer:
            for partition, (start, count) in enumerate(zip(starts.tolist(), rows.tolist(), strict=True)):
                writer.write(partition, column.slice(start, count))
        assert writer.layout is not None  # it is closed
        yield writer.layout.offsets


def _lengths(shape: Shape, random: np.random.Generator) -> Offsets:
    half = shape.range_bytes // 2
    return random.integers(half, 3 * half, size=shape.partition_count, endpoint=True)
