"""``shuffle read --raw``: the bytes of ranges as they are in the file; of merged partitions, those of chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import click

from shuffle.cli.spark import is_pushed, spark_files
from shuffle.cli.terminal import progress_bar
from shuffle.inspecting.inspection import opened
from shuffle.inspecting.spark_inspection import opened_output
from shuffle.wording import as_ranges
from spill_format.layout import PartitionLayout
from spill_format.spark.discovery import find_pushed, find_pushed_files_of, parse_pushed_name
from spill_format.spark.pushed import read_pushed
from spill_format.spark.pushed_scan import PushedPartition
from spill_format.storage.local import read_exactly

_PIECE_BYTES = 1 << 20

Numbers = tuple[int, int] | None
"""The first, and the one behind the last; None for all."""


def write_raw(path: str, partitions: Numbers, chunks: Numbers, sink: IO[bytes], *, bar_shown: bool) -> int:
    """Write the ranges of partitions to ``sink``; how many bytes that were.

    Args:
        path: an Arrow file, a data file of Spark's, or a directory of merged partitions of one shuffle.
        partitions: which.
        chunks: which of a single merged partition.
        sink: where to.
        bar_shown: show a progress bar.

    Raises:
        ClickException: there are fewer partitions or chunks.
        SpillError, OSError: the file is damaged, or cannot be read.
    """
    merged = _merged_partitions(path, partitions)
    if merged is not None:
        return _write_chunks(merged, chunks, sink, bar_shown=bar_shown)
    if chunks is not None:
        raise click.ClickException(f"{path}: only merged partitions of a push-based shuffle have chunks")
    with _layout_of(path) as (descriptor, layout):
        first, last = _within(partitions, layout.partition_count, path, "partition")
        start, end = int(layout.offsets[first]), int(layout.offsets[last])
        with progress_bar(end - start, "B", "reading", shown=bar_shown) as progress:
            _copy(descriptor, path, start, end, sink, progress)
        return end - start


@contextmanager
def _layout_of(path: str) -> Iterator[tuple[int, PartitionLayout]]:
    if os.path.isdir(path) or (files := spark_files([path])) is None:
        with opened(path) as (descriptor, structure):
            yield descriptor, structure.index.layout
    else:
        (output,) = files.outputs
        with opened_output(output) as (descriptor, found):
            yield descriptor, found.layout


def _merged_partitions(path: str, partitions: Numbers) -> Sequence[PushedPartition] | None:
    """Those that are wanted of a file or a directory of merged partitions, in order; None where it is neither."""
    if not is_pushed(path):
        return None
    if not os.path.isdir(path):
        name = parse_pushed_name(path)
        if partitions is not None and (name is None or partitions != (name.reduce, name.reduce + 1)):
            which = "one partition" if name is None else f"partition {name.reduce}"
            raise click.ClickException(f"{path} has {which} alone, whose parts are chunks: --chunk N")
        return [read_pushed(find_pushed_files_of(path))]
    found = find_pushed([path])
    if len(shuffles := {str(name).rpartition("_")[0] for name, _ in found}) > 1:
        raise click.ClickException(f"{path} has {', '.join(sorted(shuffles))}: give the file of one")
    first, last = partitions or (0, found[-1][0].reduce + 1)
    wanted = [paths for name, paths in found if first <= name.reduce < last]
    if not wanted:
        there = as_ranges([name.reduce for name, _ in found])
        raise click.ClickException(f"{path} has no such merged partition, unless it is empty; there are {there}")
    return [read_pushed(paths) for paths in wanted]


def _write_chunks(merged: Sequence[PushedPartition], chunks: Numbers, sink: IO[bytes], *, bar_shown: bool) -> int:
    if chunks is not None and len(merged) > 1:
        raise click.ClickException(f"--chunk of which of {len(merged)} merged partitions? Give one with -p")
    spans = []
    for each in merged:
        first, last = _within(chunks, each.chunk_count, each.path, "chunk")
        spans.append((each.path, int(each.offsets[first]), int(each.offsets[last])))
    total = sum(end - start for _, start, end in spans)
    with progress_bar(total, "B", "reading", shown=bar_shown) as progress:
        for path, start, end in spans:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _copy(descriptor, path, start, end, sink, progress)
            finally:
                os.close(descriptor)
    return total


def _within(numbers: Numbers, count: int, path: str, noun: str) -> tuple[int, int]:
    """The numbers, which there must be."""
    first, last = numbers or (0, count)
    if last > count:
        there = f"its {noun}s are 0 to {count - 1}" if count else "it has none"
        raise click.ClickException(f"{path} has no {noun} {max(first, count)}: {there}")
    return first, last


def _copy(descriptor: int, path: str, start: int, end: int, sink: IO[bytes], progress: Callable[[int], None]) -> None:
    for offset in range(start, end, _PIECE_BYTES):
        piece = read_exactly(descriptor, offset, min(_PIECE_BYTES, end - offset), path)
        sink.write(piece)
        progress(len(piece))
