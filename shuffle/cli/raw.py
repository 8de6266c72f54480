"""``shuffle read --raw``: the bytes of ranges as they are in the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import click

from shuffle.cli.spark import spark_outputs
from shuffle.cli.terminal import progress_bar
from shuffle.inspecting.inspection import opened
from shuffle.inspecting.spark_inspection import opened_output
from spill_format.layout import PartitionLayout
from spill_format.structure import read_exactly

_PIECE_BYTES = 1 << 20


def write_raw(path: str, partitions: tuple[int, int] | None, sink: IO[bytes], *, bar_shown: bool) -> int:
    """Write the ranges of partitions to ``sink``, all by default; how many bytes that were.

    Args:
        path: an Arrow file, or a data file of Spark's.
        partitions: the first, and the one behind the last.

    Raises:
        ClickException: there are fewer partitions.
        SpillError, OSError: the file is damaged, or cannot be read.
    """
    with _layout_of(path) as (descriptor, layout):
        first, last = partitions or (0, layout.partition_count)
        if last > layout.partition_count:
            raise click.ClickException(
                f"{path} has no partition {max(first, layout.partition_count)}: its partitions are 0 to "
                f"{layout.partition_count - 1}"
            )
        start, end = int(layout.offsets[first]), int(layout.offsets[last])
        with progress_bar(end - start, "B", "reading", shown=bar_shown) as progress:
            for offset in range(start, end, _PIECE_BYTES):
                piece = read_exactly(descriptor, offset, min(_PIECE_BYTES, end - offset), path)
                sink.write(piece)
                progress(len(piece))
        return end - start


@contextmanager
def _layout_of(path: str) -> Iterator[tuple[int, PartitionLayout]]:
    if os.path.isdir(path) or (outputs := spark_outputs([path])) is None:
        with opened(path) as (descriptor, structure):
            yield descriptor, structure.index.layout
    else:
        (output,) = outputs
        with opened_output(output) as (descriptor, found):
            yield descriptor, found.layout
