"""A whole shuffle: every row reaches the reduce task of its partition, on every executor, and nothing is left."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, RoundRobinPartitioner, run
from spill_format import MismatchError

PARTITION_COUNT = 7
INPUTS = [range(1000), range(1000, 1001), range(0), range(1001, 5000)]
EXECUTORS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "here": nullcontext,
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn")),
}


def read(numbers: range) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(numbers), 300):
        yield pa.record_batch({"key": pa.array(numbers[start : start + 300], pa.int64())})


def keys(partition: int, rows: pa.Table) -> tuple[int, list[int]]:
    return partition, rows["key"].to_pylist()


def read_and_die(_numbers: range) -> Iterator[pa.RecordBatch]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield from ()


def read_strings_too(numbers: range) -> Iterator[pa.RecordBatch]:
    kind = pa.string() if numbers == INPUTS[1] else pa.int64()
    yield pa.record_batch({"key": pa.array(list(map(str, numbers)) if kind == pa.string() else numbers, kind)})


def fail(partition: int, rows: pa.Table) -> None:
    raise LookupError(f"partition {partition} of {rows.num_rows} rows")


@pytest.fixture(params=["here", "threads", pytest.param("processes", marks=pytest.mark.process)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    with EXECUTORS[request.param]() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.iterdir())


def test_every_row_reaches_the_reduce_task_of_its_partition(executor: Executor | None, tmp_path: Path) -> None:
    partitioner = HashPartitioner("key", PARTITION_COUNT)
    results = run(INPUTS, read, partitioner, keys, executor, directory=tmp_path)
    numbers = partitioner.partition_numbers(pa.record_batch({"key": pa.array(range(5000), pa.int64())}))
    assert results == [
        (partition, [key for key in range(5000) if numbers[key] == partition]) for partition in range(PARTITION_COUNT)
    ]


def test_map_tasks_do_not_share_a_partitioner_that_counts(executor: Executor | None, tmp_path: Path) -> None:
    inputs = [range(10), range(10, 20)]
    results = run(inputs, read, RoundRobinPartitioner(10), keys, executor, directory=tmp_path)
    assert results == [(partition, [partition, partition + 10]) for partition in range(10)]


@pytest.mark.parametrize("inputs", [[], [range(0)], [range(0), range(0)]])
def test_no_rows_are_no_results(inputs: list[range], tmp_path: Path) -> None:
    assert run(inputs, read, HashPartitioner("key", 3), keys, directory=tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reduce": fail}, LookupError, "partition 0 of"),
        ({"partitioner": HashPartitioner("nokey", 3)}, ValueError, "nokey"),
        ({"options": MapOptions(spills_only=True)}, ValueError, "spills_only"),
        ({"read": read_strings_too}, MismatchError, "another schema"),
    ],
)
def test_the_first_failure_is_raised(
    executor: Executor | None, tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    calls = {"read": read, "partitioner": HashPartitioner("key", 3), "reduce": keys, **arguments}
    with pytest.raises(error, match=message):
        run(INPUTS, executor=executor, directory=tmp_path, **calls)


def test_a_map_task_that_is_killed_is_an_error(tmp_path: Path) -> None:
    with EXECUTORS["processes"]() as executor, pytest.raises(BrokenExecutor):
        run(INPUTS, read_and_die, HashPartitioner("key", 3), keys, executor, directory=tmp_path)


def test_options_reach_map_tasks_and_merge(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        run(
            INPUTS,
            read,
            HashPartitioner("key", 3),
            keys,
            directory=tmp_path,
            options=MapOptions(spill_directories=(tmp_path / "nowhere",), method="buffered"),
        )
