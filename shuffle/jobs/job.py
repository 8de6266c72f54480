"""A whole shuffle on any executor: map tasks, host merges, reduce tasks, and what to do when some of them are lost.

Here a caller's wishes become a plan, an engine and an exchange. What happens when is the plan's
business, how it happens the loop's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import Any, Generic, TypeVar, Unpack

from shuffle.jobs.engines import Engine
from shuffle.jobs.events import Rules
from shuffle.jobs.exchanges import Exchange
from shuffle.jobs.loop import JoinSide, Loop
from shuffle.jobs.manifest import Manifest
from shuffle.jobs.options import JobKeywords, JobOptions
from shuffle.jobs.plan import Plan
from shuffle.jobs.progress import Progress, stage_bars
from shuffle.jobs.report import JobReport
from shuffle.jobs.tasks import Rows
from shuffle.option_kinds import options_of
from shuffle.partitioners import Partitioner
from shuffle.partitioners.protocol import check_partitioner

_Input = TypeVar("_Input")
_Result = TypeVar("_Result")


__all__ = ["JoinSide", "Results", "run", "run_join"]


class Results(list[_Result], Generic[_Result]):
    """The results of a job, one a partition, in order.

    Attributes:
        report: what the job did.
    """

    def __init__(self, values: Sequence[_Result], report: JobReport) -> None:
        super().__init__(values)
        self.report = report


def run(  # noqa: PLR0913 (the fixed interface has them)
    inputs: Sequence[_Input],
    read: Callable[[_Input], Rows],
    partitioner: Partitioner,
    reduce: Callable[..., _Result],
    executor: Executor | None = None,
    *,
    exchange: Exchange | None = None,
    resume: str | PathLike[str] | None = None,
    progress: bool | Progress = False,
    combine: Callable[[list[_Result]], _Result] | None = None,
    options: JobOptions | None = None,
    **keywords: Unpack[JobKeywords],
) -> Results[_Result]:
    """Shuffle the rows of all inputs, and reduce each partition.

    Args:
        inputs: one map task each. Rows stand within a partition in the order of the inputs, if not
            merged by hosts; see ``JobOptions.keep_order``.
        read: gives the rows of one input; all of one schema. It should give the same rows when it is called again.
        partitioner: each map task uses a copy of its own, as it is now.
        reduce: is given a partition's number and its rows as a ``pyarrow.Table``. Rows of near files are views of a
            memory map that lives as long as they do.
        executor: where tasks run; None runs them here, one after the other. For one of processes, ``inputs``, ``read``,
            ``partitioner``, ``reduce`` and its results must be picklable. A pool of processes that breaks because a
            worker dies is replaced by another one for the rest of the job.
        exchange: the medium between map and reduce tasks; by default the system's temporary directory.
        resume: path of a file in which the job writes down what it has done. If the driver dies, the same call with
            the same file goes on from there. Removed when the job has succeeded.
        progress: True shows one bar a stage on stderr; a function is called with a stage's name, how many of its tasks
            are done, and how many there are.
        combine: joins the results of the slices of a large partition, in the order of the rows. Without it no
            partition is cut.
        options, keywords: see ``JobOptions``; each option is also a keyword, such as ``attempts=4``.

    Returns:
        The results of ``reduce``, one a partition, in order, with the job's ``report``; none where the inputs have no
        rows at all.

    Raises:
        ValueError: a map task's rows do not fit the partitioner; an argument is out of its bounds.
        MismatchError: the inputs have different schemas.
        ChangedRowsError: a map task gave other rows when it ran again.
        LostError: a map task's output was lost in each of its attempts.
        Whatever ``read``, ``reduce`` and the executor raise in the last of the attempts.
    """
    return run_join(
        [JoinSide(inputs, read, partitioner)],
        reduce,
        executor,
        exchange=exchange,
        resume=resume,
        progress=progress,
        combine=combine,
        options=options,
        **keywords,
    )


def run_join(  # noqa: PLR0913 (as run has them)
    sides: Sequence[JoinSide[Any]],
    reduce: Callable[..., _Result],
    executor: Executor | None = None,
    *,
    exchange: Exchange | None = None,
    resume: str | PathLike[str] | None = None,
    progress: bool | Progress = False,
    combine: Callable[[list[_Result]], _Result] | None = None,
    options: JobOptions | None = None,
    **keywords: Unpack[JobKeywords],
) -> Results[_Result]:
    """Shuffle the rows of several inputs alike, and reduce each partition with the rows of all of them.

    Args:
        sides: the inputs. Their partitioners have the same partition count, and place equal keys alike.
        reduce: is given a partition's number and, for each side, its rows as a ``pyarrow.Table``; a table without
            columns for a side that has no rows at all.
        combine: for a single side only.
        executor, exchange, resume, progress, options, keywords: as for ``run``.

    Returns:
        As ``run``.

    Raises:
        ValueError: partition counts differ; there are no sides; ``combine`` for several sides.
        Whatever ``run`` raises.
    """
    options = options_of(JobOptions, options, keywords)
    partition_count = _partition_count(sides)
    if combine is not None and len(sides) > 1:
        raise ValueError("combine joins slices of one side: partitions of a join are not cut")
    exchange = exchange or Exchange.directory()
    engine = Engine(executor)
    rules = _rules(options, exchange, engine, can_slice=combine is not None)
    plan = Plan([len(side.inputs) for side in sides], partition_count, rules)
    name, secret = secrets.token_hex(6), secrets.token_urlsafe(24)
    manifest = None
    if resume is not None:
        manifest = Manifest(resume, _described(sides, partition_count, exchange), name, secret)
        name, secret = manifest.name, manifest.secret
    loop = Loop(plan, engine, sides, reduce, options, JobReport(name, partition_count))
    with stage_bars(progress) as shown:
        by_unit = loop.run(exchange, name, secret, manifest, shown)
    return Results(_by_partition(plan, by_unit, combine), loop.report)


def _rules(options: JobOptions, exchange: Exchange, engine: Engine, *, can_slice: bool) -> Rules:
    return Rules(
        attempts=options.attempts,
        slots=engine.slots,
        running=engine.queued,
        merges="never" if exchange.merges == "host" and options.keep_order else exchange.merges,
        merge_from=options.merge_from,
        unit_bytes=options.unit_bytes,
        slice_bytes=options.slice_bytes if can_slice else None,
        changed_rows=options.changed_rows,
    )


def _described(sides: Sequence[JoinSide[Any]], partition_count: int, exchange: Exchange) -> dict[str, Any]:
    """What another job does not have in common with this one."""
    return {
        "inputs": [len(side.inputs) for side in sides],
        "partitioners": [type(side.partitioner).__name__ for side in sides],
        "partitions": partition_count,
        "exchange": repr(exchange),
    }


def _partition_count(sides: Sequence[JoinSide[Any]]) -> int:
    """The partition count of all sides, after the arguments were checked."""
    for side in sides:
        check_partitioner(side.partitioner)
    counts = sorted({side.partitioner.partition_count for side in sides})
    if len(counts) != 1:
        what = f"partition counts {counts}" if counts else "no sides"
        raise ValueError(f"a job has sides of one partition count, not {what}")
    return counts[0]


def _by_partition(
    plan: Plan, by_unit: dict[int, list[_Result]], combine: Callable[[list[_Result]], _Result] | None
) -> list[_Result]:
    """The results of units, in the order of partitions; those of slices combined."""
    values: list[_Result] = []
    slices: list[_Result] = []
    for number, unit in enumerate(plan.units or ()):
        if unit.parts == 1:
            values += by_unit[number]
            continue
        slices += by_unit[number]
        if unit.part == unit.parts - 1:
            assert combine is not None  # partitions are cut only then
            values.append(combine(slices))
            slices = []
    return values
