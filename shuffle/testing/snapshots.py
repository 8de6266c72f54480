"""A file's layout as text, the same wherever it is written, for tests that keep a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from os import PathLike

from spill_format import SpillFile


def layout_text(path: str | PathLike[str], *, byte_counts: bool = False) -> str:
    """The layout of a partitioned file as a table, one line a partition; empty ones next to each other share a line.

    Args:
        path: the file.
        byte_counts: also where each range starts and how long it is. These depend on the version of pyarrow that wrote
            the file; the rest does not.

    Raises:
        SpillError, OSError: the file cannot be read.
    """
    with SpillFile(path) as spill:
        columns = ", ".join(f"{field.name}: {field.type}" for field in spill.schema) or "none"
        row_count, batch_count = spill.layout.row_count, int(spill.batch_counts.sum())
        head = (
            f"partitions {spill.partition_count}, rows {row_count}, batches {batch_count}, alignment {spill.alignment}"
        )
        cells = list(_cells(spill, byte_counts=byte_counts))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([head, f"columns {columns}", *lines]) + "\n"


def _cells(spill: SpillFile, *, byte_counts: bool) -> Iterator[tuple[str, ...]]:
    """The table's heading and rows."""
    layout = spill.layout
    yield ("partition", "rows", "batches", *(("start", "bytes") if byte_counts else ()))
    assert layout.rows is not None  # an index always has them
    columns = [layout.rows, spill.batch_counts, *((layout.offsets[:-1], layout.lengths) if byte_counts else ())]
    rows = zip(range(spill.partition_count), *(column.tolist() for column in columns), strict=True)
    for is_empty, group in groupby(rows, key=lambda row: row[1] == 0):
        partitions = list(group)
        if is_empty and len(partitions) > 1:
            first, last = partitions[0], partitions[-1]
            yield f"{first[0]}–{last[0]}", *map(str, first[1:])
        else:
            yield from (tuple(map(str, row)) for row in partitions)
