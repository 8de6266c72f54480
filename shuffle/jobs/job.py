"""A whole shuffle on any executor: map tasks, one merge, reduce tasks.

Tasks share nothing but a directory, so threads, processes and clusters will do. How rows are partitioned, merged and
read is the business of the modules that do it.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, Unpack

import pyarrow as pa

from shuffle.mapping.map_writer import MapWriter
from shuffle.merging.merge import merge
from shuffle.option_kinds import options_of
from shuffle.options import MapKeywords, MapOptions
from shuffle.partitioners import Partitioner
from shuffle.partitioners.protocol import check_partitioner
from spill_format.reader import SpillFile

_Input = TypeVar("_Input")
_Result = TypeVar("_Result")

Rows = Iterable[pa.RecordBatch | pa.Table]


def run(
    inputs: Sequence[_Input],
    read: Callable[[_Input], Rows],
    partitioner: Partitioner,
    reduce: Callable[[int, pa.Table], _Result],
    executor: Executor | None = None,
    *,
    directory: str | PathLike[str] | None = None,
    options: MapOptions | None = None,
    **keywords: Unpack[MapKeywords],
) -> list[_Result]:
    """Shuffle the rows of all inputs, and reduce each partition.

    Args:
        inputs: one map task each. Rows stand within a partition in the order of the inputs.
        read: gives the rows of one input; all of one schema.
        partitioner: each map task uses a copy of its own, as it is now.
        reduce: is given a partition's number and its rows, over a memory map that lives as long as they do.
        executor: where tasks run; None runs them here, one after the other. For one of processes, ``inputs``, ``read``,
            ``partitioner``, ``reduce`` and its results must be picklable, and all must see ``directory``.
        directory: where map outputs and the merged file lie meanwhile, in a subdirectory that is removed; by default
            the system's temporary directory.
        options, keywords: of each map task and of the merge: see ``MapOptions``; each option is also a keyword.

    Returns:
        The results of ``reduce``, one a partition, in order; none where the inputs have no rows at all.

    Raises:
        ValueError: a map task's rows do not fit the partitioner, or not each other; the options want spills only.
        MismatchError: the inputs have different schemas.
        Whatever ``read``, ``reduce`` and the executor raise; tasks that did not begin are cancelled then.
    """
    options = options_of(MapOptions, options, keywords)
    check_partitioner(partitioner)
    if options.spills_only:
        raise ValueError("spills_only leaves map tasks without outputs, which run merges and reduces")
    with tempfile.TemporaryDirectory(prefix="shuffle-", dir=directory) as place:
        maps = [
            _MapTask(Path(place, f"map-{number:05}.spill.arrow"), item, read, copy.deepcopy(partitioner), options)
            for number, item in enumerate(inputs)
        ]
        outputs = [output for output in _all(executor, [partial(_map, task) for task in maps]) if output is not None]
        if not outputs:
            return []
        merged = os.path.join(place, "merged.arrow")
        merge(outputs, merged, options.merge)
        partitions = range(partitioner.partition_count)
        return _all(executor, [partial(_reduce, merged, partition, reduce) for partition in partitions])


@dataclass(frozen=True, slots=True)
class _MapTask:
    """What one map task is to do; picklable."""

    output: Path
    item: Any
    read: Callable[[Any], Rows]
    partitioner: Partitioner
    options: MapOptions


def _map(task: _MapTask) -> Path | None:
    """Write one map output; None where the input has no rows."""
    writer: MapWriter | None = None
    try:
        for rows in task.read(task.item):
            if writer is None:
                writer = MapWriter(task.output, rows.schema, task.partitioner, task.options)
            writer.write(rows)
        if writer is None:
            return None
        writer.close()
        return task.output
    finally:
        if writer is not None:
            writer.discard()


def _reduce(merged_path: str, partition: int, reduce: Callable[[int, pa.Table], _Result]) -> _Result:
    with closing(SpillFile(merged_path)) as merged:
        return reduce(partition, merged.read(partition))


def _all(executor: Executor | None, tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """The results of all tasks, in order. The first failure, in that order, ends those that have not begun."""
    if executor is None:
        return [task() for task in tasks]
    futures: list[Future[_Result]] = [executor.submit(task) for task in tasks]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        # What is running writes into a directory that is about to be removed.
        for future in futures:
            if not future.cancelled():
                future.exception()
