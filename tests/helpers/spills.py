"""Small spills of known content, and what a merge of them must be, computed from the files' bytes alone."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from shuffle.testing import write_spill
from spill_format import SpillFile
from spill_format.index import PartitionIndex
from spill_format.structure import read_structure_by

FLAT_SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])
SCHEMA = pa.schema([("key", pa.int64()), ("text", pa.string())])


def random_spill(
    path: Path, rows: Sequence[int], *, alignment: int = 64, schema: pa.Schema = SCHEMA, batch_rows: int = 10_000
) -> Path:
    """Write a spill with these counts of rows; spills of different names hold different bytes."""
    generator = np.random.default_rng(list(path.name.encode()))
    partitions = {
        partition: [
            batch_of(generator.integers(0, 2**62, min(batch_rows, row_count - start)), schema)
            for start in range(0, row_count, batch_rows)
        ]
        for partition, row_count in enumerate(rows)
    }
    return write_spill(partitions, path, schema=schema, partition_count=len(rows), alignment=alignment)


def batch_of(keys: np.ndarray, schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    """Rows of a schema, whose columns are the keys, each in its own type."""
    return pa.record_batch([pa.array(keys).cast(field.type) for field in schema], schema=schema)


def random_spills(directory: Path, *rows: Sequence[int], alignment: int = 64) -> list[Path]:
    """``spill-0.spill.arrow`` and so on, with the rows given for each."""
    return [
        random_spill(directory / f"spill-{number}.spill.arrow", counts, alignment=alignment)
        for number, counts in enumerate(rows)
    ]


def index_of(raw: bytes) -> PartitionIndex:
    """The index of a sound file."""
    return read_structure_by(lambda offset, count: raw[offset : offset + count], "bytes", len(raw)).index


def ranges_of(path: Path) -> list[bytes]:
    """The bytes of each partition's range."""
    content = path.read_bytes()
    with SpillFile(path) as spill:
        return [content[start:end] for start, end in pairwise(spill.layout.offsets.tolist())]


def merged_ranges(sources: Iterable[Path]) -> list[bytes]:
    """What the ranges of a merge of these files must be."""
    return [b"".join(parts) for parts in zip(*map(ranges_of, sources), strict=True)]


def assert_merge_of(sources: Sequence[Path], target: Path) -> None:
    """The target holds exactly the sources' ranges, is sound, and is what Arrow reads, in the order of the sources."""
    assert ranges_of(target) == merged_ranges(sources)
    with SpillFile(target) as merged:
        merged.verify()
        partitions = [merged.read(partition) for partition in range(merged.partition_count)]
    for partition, table in enumerate(partitions):
        parts = []
        for source in sources:
            with SpillFile(source) as spill:
                parts.append(spill.read(partition))
        assert table == pa.concat_tables(parts)
    # From bytes: Arrow's threads let go of a mapped file when they like, and tests look whether files stay open.
    assert pa.ipc.open_file(target.read_bytes()).read_all() == pa.concat_tables(partitions)


def open_files_in(directory: Path) -> list[str]:
    """The files of a directory that this process has open, those without a name too."""
    opened = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            opened.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [path for path in opened if path.startswith(f"{directory}/")]


def flat_batch(row_count: int, first: int = 0) -> pa.RecordBatch:
    """Rows of ``FLAT_SCHEMA``, numbered from ``first``, a null among them where there are three."""
    numbers = range(first, first + row_count)
    return pa.record_batch([list(numbers), [None if n % 3 == 2 else f"row {n}" for n in numbers]], schema=FLAT_SCHEMA)


def write_sample(path: Path) -> Path:
    """Four partitions: two batches, none, one, and none at the end; eight rows."""
    return write_spill({0: [flat_batch(3), flat_batch(1, 3)], 2: [flat_batch(4, 4)]}, path, partition_count=4)


def read_everything(path: Path) -> pa.Table:
    """Open, verify, read all partitions and validate each value."""
    with SpillFile(path) as spill:
        spill.verify()
        table = spill.read(0, spill.partition_count)
    table.validate(full=True)
    return table
