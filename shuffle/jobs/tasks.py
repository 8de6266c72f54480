"""What runs on workers: map task, host merge and reduce task, plain functions of picklable arguments.

A driver of another make may call them, too: each answers a descriptor that is JSON, or values. What fails on the way is
raised, but for what a job's plan has an answer to, which is returned.
"""

from __future__ import annotations

import copy
import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from shuffle.jobs.descriptor import DiskFull, Output, Reduced, Source, SourceLost, TaskError
from shuffle.jobs.digest import DigestingPartitioner
from shuffle.jobs.exchanges.protocol import NO_ROOM, JobFiles
from shuffle.jobs.reading import SourceLostError, Traffic, read_unit
from shuffle.jobs.reduce_units import Unit
from shuffle.mapping.map_writer import MapWriter
from shuffle.merging.merge import merge
from shuffle.options import MapOptions, MergeOptions
from shuffle.partitioners import Partitioner
from shuffle.report import MergeReport
from spill_format.layout import PartitionLayout

Rows = Iterable[pa.RecordBatch | pa.Table]
_Published = TypeVar("_Published")


class AbandonedError(Exception):
    """Nobody waits for the task any more: its job's directory is gone."""


def map_task(
    number: int,
    item: Any,
    read: Callable[[Any], Rows],
    partitioner: Partitioner,
    files: JobFiles,
    options: MapOptions,
) -> Output | DiskFull:
    """Partition the rows of one input into one published file.

    Args:
        number: of the map task.
        item: is given to ``read``, which gives the rows.
        partitioner: a copy of it is used.
        files: where outputs go.
        options: of the map task.

    Returns:
        The descriptor; or that no directory had room.

    Raises:
        AbandonedError: the job has ended meanwhile.
        Whatever ``read`` and ``MapWriter`` raise.
    """
    started = time.perf_counter()
    attempt = secrets.token_hex(8)

    def publish(directory: str) -> tuple[Path, PartitionLayout | None, str]:
        target = Path(directory, f"map-{number:06}-{attempt}.arrow")
        digesting = DigestingPartitioner(copy.deepcopy(partitioner))
        try:
            layout = _write_output(_wanted(read(item), Path(directory)), target, digesting, options)
        except OSError as error:
            if os.path.isdir(directory):
                raise
            raise AbandonedError(f"map task {number}: {directory} is gone, and so is its job") from error
        return target, layout, digesting.digest()

    published = _where_there_is_room(files, publish)
    if isinstance(published, DiskFull):
        return published
    host, (target, layout, digest) = published
    lengths = None if layout is None else layout.lengths
    return Output(
        maps=(number,),
        attempt=attempt,
        host=host,
        path=None if layout is None else str(target),
        rows=0 if layout is None or layout.rows is None else int(layout.rows.sum()),
        byte_count=0 if lengths is None else int(lengths.sum()),
        sizes=lengths,
        digest=digest,
        server=files.server(),
        seconds=time.perf_counter() - started,
    )


def merge_task(
    sources: Sequence[Source], files: JobFiles, *, compact: bool, options: MergeOptions
) -> Output | DiskFull:
    """Merge outputs that lie on one host into one published file. The originals stay.

    Returns:
        The descriptor, whose ``maps`` are the first maps of the sources; or that no directory had room.

    Raises:
        SpillError, OSError: as ``shuffle.merge`` does.
    """
    started = time.perf_counter()
    attempt = secrets.token_hex(8)

    def publish(directory: str) -> tuple[Path, MergeReport]:
        target = Path(directory, f"merge-{sources[0].map:06}-{attempt}.arrow")
        return target, merge([source.path for source in sources], target, replace(options, compact=compact))

    published = _where_there_is_room(files, publish)
    if isinstance(published, DiskFull):
        return published
    host, (target, report) = published
    return Output(
        maps=tuple(source.map for source in sources),
        attempt=attempt,
        host=host,
        path=str(target),
        rows=report.row_count or 0,
        byte_count=report.byte_count,
        server=files.server(),
        seconds=time.perf_counter() - started,
    )


def reduce_task(
    unit: Unit,
    sides: Sequence[Sequence[Source]],
    reduce: Callable[..., Any],
    files: JobFiles,
) -> Reduced | SourceLost:
    """Reduce neighbouring partitions, or a slice of one.

    Args:
        unit: which.
        sides: sources of each side, in the order of the rows.
        reduce: is given a partition's number and, for each side, its rows.
        files: how they are read.

    Returns:
        The values; or which source could not be read, and why.
    """
    started = time.perf_counter()
    traffic = Traffic()
    values = []
    rows = 0
    try:
        with ExitStack() as stack:
            iterators = [read_unit(unit, side, files, traffic, stack) for side in sides]
            for partition in range(unit.start, unit.stop):
                tables = [next(iterator) for iterator in iterators]
                rows += sum(table.num_rows for table in tables)
                values.append(reduce(partition, *tables))
    except SourceLostError as error:
        return error.lost
    return Reduced(
        values=values,
        host=files.host(),
        rows=rows,
        bytes_local=traffic.bytes_local,
        bytes_fetched=traffic.bytes_fetched,
        seconds=time.perf_counter() - started,
    )


def _where_there_is_room(files: JobFiles, publish: Callable[[str], _Published]) -> tuple[str, _Published] | DiskFull:
    """Publish in the first directory that has room: the host, and what was published; or that none has room."""
    failures = []
    try:
        place = files.prepare()
        for directory in place.directories:
            try:
                return place.host, publish(directory)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                failures.append(f"{directory}: {error}")
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        failures.append(str(error))
    return DiskFull(files.host(), "; ".join(failures))


def guarded(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """What a function answers; what it raises is answered, too: engines change exceptions on their way."""
    try:
        return function(*arguments, **keywords)
    except Exception as error:  # noqa: BLE001 (the driver raises it)
        where = "".join(traceback.format_exception(error))
        return TaskError(error, where)


def _wanted(rows: Rows, directory: Path) -> Iterator[pa.RecordBatch | pa.Table]:
    """The rows, as long as the job has its directory."""
    for batch in rows:
        if not directory.is_dir():
            raise AbandonedError(f"{directory} is gone, and so is its job")
        yield batch


def _write_output(
    rows: Iterator[pa.RecordBatch | pa.Table], target: Path, partitioner: Partitioner, options: MapOptions
) -> PartitionLayout | None:
    """Publish a file of the rows; None, and no file, where there are no rows."""
    first = next(rows, None)
    if first is None:
        return None
    with MapWriter(target, first.schema, partitioner, options) as writer:
        writer.write(first)
        for batch in rows:
            writer.write(batch)
    assert writer.report is not None  # it is closed
    return writer.report.layout
