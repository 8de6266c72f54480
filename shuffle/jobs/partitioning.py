"""Files of rows become one partitioned file, on an engine: ``shuffle partition --executor`` calls this."""

from __future__ import annotations

import builtins
import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import cache, partial
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from shuffle.jobs.catalogue import Catalogue
from shuffle.jobs.engines import Engine
from shuffle.jobs.events import Rules
from shuffle.jobs.exchanges import Exchange
from shuffle.jobs.loop import JoinSide, Loop
from shuffle.jobs.options import JobOptions
from shuffle.jobs.plan import Plan
from shuffle.jobs.progress import Progress
from shuffle.jobs.report import JobReport
from shuffle.merging.merge import merge
from shuffle.options import MapOptions
from shuffle.partitioners import HashPartitioner, Partitioner
from shuffle.report import MergeReport
from shuffle.rows.bounds import range_partitioner
from shuffle.rows.csv_options import CsvOptions
from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs
from shuffle.rows.placement import SortKey


@contextmanager
def executor_of(url: str) -> Iterator[Executor]:
    """The executor of a cluster: ``dask://HOST:PORT`` is a Dask scheduler, ``ray://HOST:PORT`` a Ray Client server.

    Raises:
        ValueError: the URL is of neither.
        OSError: there is no such scheduler.
    """
    parts = urlsplit(url)
    if parts.scheme == "dask" and parts.netloc:
        import distributed

        from shuffle.jobs.dask import DaskExecutor

        with distributed.Client(f"tcp://{parts.netloc}") as client:
            yield DaskExecutor(client)
    elif parts.scheme == "ray" and parts.netloc:
        import ray

        from shuffle.jobs.ray import RayExecutor

        ray.init(url, log_to_driver=False)
        try:
            yield RayExecutor()
        finally:
            ray.shutdown()
    else:
        raise ValueError(f"{url}: not the URL of an engine; dask://HOST:PORT and ray://HOST:PORT are")


def partition_files_on(  # noqa: PLR0913 (as partition_files)
    executor: Executor,
    inputs: Sequence[str | PathLike[str]],
    target: str | PathLike[str],
    partitions: int,
    *,
    by: Sequence[str] = (),
    range: Sequence[SortKey] = (),  # noqa: A002 (the command's name for it)
    columns: Sequence[str] | None = None,
    where: str | None = None,
    csv: CsvOptions | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
    options: MapOptions | None = None,
) -> MergeReport:
    """Read files of rows with the workers of an engine, one map task a file, and write one partitioned file.

    All workers must see the inputs and the directory of the target under the same paths: map outputs lie there until
    the driver merges them. Rows in a partition stand in the order of the files.

    Args:
        executor: the engine.
        inputs, target, partitions, by, range, columns, where, csv: as for ``shuffle.partition_files``; ``columns`` must
            name those of ``by`` or ``range``, too. The driver takes the sample for ``range``.
        progress: is told of map tasks.
        options: of each map task; ``merge`` of the last merge.

    Raises:
        InputError: a file, a column or the condition is at fault.
        Whatever the map tasks and the merge raise.
    """
    options = options or MapOptions()
    paths = tuple(os.path.abspath(path) for path in inputs)
    rows = _inputs(paths, where, csv)
    partitioner = _partitioner(rows, partitions, by, range, columns, options.memory_bytes)
    read = partial(_read_part, paths, where, csv, None if columns is None else tuple(columns), options.memory_bytes)
    engine = Engine(executor)
    plan = Plan(
        [len(rows.parts)], partitions, Rules(slots=engine.slots, running=engine.queued, merges="never"), reduces=False
    )
    name = secrets.token_hex(6)
    sides = [JoinSide(builtins.range(len(rows.parts)), read, partitioner)]
    loop = Loop(plan, engine, sides, _nothing, JobOptions(map=options), JobReport(name, partitions))
    merged: list[MergeReport] = []

    def merge_all(files: Catalogue) -> None:
        outputs = [source.path for source in files.sources()[0]]
        if not outputs:
            raise InputError("the inputs have no rows that could be written")
        merged.append(merge(outputs, target, options.merge))

    exchange = Exchange.directory(Path(target).absolute().parent)
    loop.run(exchange, name, "", None, progress, conclude=merge_all)
    return merged[0]


def _partitioner(
    rows: Inputs,
    count: int,
    by: Sequence[str],
    keys: Sequence[SortKey],
    columns: Sequence[str] | None,
    memory_bytes: int,
) -> Partitioner:
    """What places the rows, after the columns were checked."""
    placing = [*by, *(key.column for key in keys)]
    if columns is not None and (missing := [name for name in placing if name not in columns]):
        raise InputError(f"on an engine, the columns to write must include those that place rows: {', '.join(missing)}")
    by_hash = HashPartitioner(by, count) if by else None
    partitioner = by_hash or range_partitioner(rows, keys, count, memory_bytes)
    partitioner.check_schema(rows.schema)
    return partitioner


@cache
def _inputs(paths: tuple[str, ...], where: str | None, csv: CsvOptions | None) -> Inputs:
    """Looked at once by each worker."""
    return Inputs(list(paths), where, csv)


def _read_part(
    paths: tuple[str, ...],
    where: str | None,
    csv: CsvOptions | None,
    columns: tuple[str, ...] | None,
    memory_bytes: int,
    number: int,
) -> Iterator[pa.RecordBatch]:
    inputs = _inputs(paths, where, csv)
    return inputs.batches([inputs.parts[number]], columns, lambda _rows: None, memory_bytes)


def _nothing(partition: int, rows: pa.Table) -> None:
    """Partitions are not reduced."""
    del partition, rows
