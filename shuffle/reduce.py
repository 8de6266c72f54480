"""The reduce side of many map outputs: the same partitions of several files, one file after the other.

Files are read ahead within a limit of bytes, so that a disk or a store is busy while the caller computes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pyarrow as pa

from shuffle.machine.prefetch import Task, in_order
from shuffle.option_kinds import check_count, check_size, several
from spill_format.errors import MismatchError
from spill_format.partitioner import check_partitioners, describe_separation
from spill_format.reader import SpillFile
from spill_format.schemas import describe_difference
from spill_format.spill_set import find_missing

AnyFile = SpillFile | str | PathLike[str]


def read_partition(
    files: Iterable[AnyFile],
    start: int,
    stop: int | None = None,
    *,
    columns: Sequence[str] | None = None,
    prefetch_bytes: int | str = 64 << 20,
    threads: int = 4,
    mix_partitioners: bool = False,
) -> pa.RecordBatchReader:
    """The rows of one partition, or of partitions ``start`` … ``stop - 1``, of several files.

    Args:
        files: open, or paths, which are opened when their turn comes and closed behind it. At least one.
        start, stop: the partitions; of each file its own, in file order.
        columns: names of the columns wanted, in the order wanted; None for all.
        prefetch_bytes: at most so many bytes of ranges are read ahead, or held by the batch that was given out last.
        threads: how many files are read at once.
        mix_partitioners: read files whose rows different partitioners placed. Off: such a mixture is an error.

    Returns:
        Record batches, file after file in the order given. Those of local files are views of their memory maps.

    Raises:
        ValueError: no files; a limit that is none; no such column.
        IndexError: a file has no such partition; while reading, if it is not the first file.
        MismatchError: a file's columns, number of partitions or partitioner are others than those of the first
            file; while reading. Or the files are some of the spills that a map task kept, and not all; in the end.
        SpillError, OSError: a file is damaged or cannot be read; while reading, if it is not the first one.
    """
    prefetch_bytes, threads = check_size("prefetch_bytes", prefetch_bytes), check_count("threads", threads)
    remaining = iter(several("files", files))
    first_file = next(remaining, None)
    if first_file is None:
        raise ValueError("there are no files to read")
    opened = _opened(first_file)
    schema = opened.batches(start, start, columns=columns).schema
    opened.range_of(start, stop)

    members = [(opened.path, opened.spill_set)]

    def tasks() -> Iterator[Task[pa.Table]]:
        yield _task(opened, start, stop, columns)
        for file in remaining:
            other = _opened(file)
            _check_agreement(opened, other, mix_partitioners=mix_partitioners)
            members.append((other.path, other.spill_set))
            yield _task(other, start, stop, columns)

    def batches() -> Iterator[pa.RecordBatch]:
        for table in in_order(tasks(), prefetch_bytes, threads):
            yield from table.to_batches()
        for missing in find_missing(members):
            raise missing.error()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _opened(file: AnyFile) -> SpillFile:
    return SpillFile(file) if isinstance(file, (str, os.PathLike)) else file


def _task(file: SpillFile, start: int, stop: int | None, columns: Any) -> Task[pa.Table]:
    offset, stop_offset = file.range_of(start, stop)

    def read() -> pa.Table:
        file.will_need(start, stop)
        return file.read(start, stop, columns=columns)

    return Task(stop_offset - offset, read)


def _check_agreement(first: SpillFile, other: SpillFile, *, mix_partitioners: bool) -> None:
    if (difference := describe_difference(first.schema, other.schema)) is not None:
        raise MismatchError(f"other columns than {first.path} has: {difference}", path=other.path)
    if first.partition_count != other.partition_count:
        raise MismatchError(
            f"another number of partitions than {first.path}",
            path=other.path,
            expected=first.partition_count,
            actual=other.partition_count,
        )
    if not mix_partitioners:
        encoded = [(file.path, file.partitioner.encode()) for file in (first, other) if file.partitioner is not None]
        check_partitioners(encoded)


def co_partitioned(first: AnyFile, second: AnyFile) -> CoPartitioning:
    """Whether equal keys of two files have the same partition, so that the files can be joined partition by partition.

    Args:
        first, second: open, or paths. The key columns may have other names in the second file.

    Returns:
        True or False, with the reason.

    Raises:
        SpillError, OSError: a file is damaged or cannot be read.
    """
    descriptions = []
    for file in (first, second):
        opened = _opened(file)
        descriptions.append(opened.partitioner)
        if opened is not file:
            opened.close()
    return CoPartitioning(describe_separation(*descriptions))


@dataclass(frozen=True, slots=True)
class CoPartitioning:
    """The answer of ``co_partitioned``; as a condition it is that answer.

    Attributes:
        reason: why equal keys need not have the same partition; None where they do.
    """

    reason: str | None

    def __bool__(self) -> bool:
        return self.reason is None

    def __str__(self) -> str:
        return "partitioned alike" if self.reason is None else f"not partitioned alike: {self.reason}"
