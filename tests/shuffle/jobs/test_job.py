"""A whole shuffle: every row reaches the reduce task of its partition, on every executor, and nothing is left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import loky
import pyarrow as pa
import pytest

from shuffle import (
    Exchange,
    HashPartitioner,
    JoinSide,
    MapOptions,
    RoundRobinPartitioner,
    ShuffleWarning,
    run,
    run_join,
)
from spill_format import MismatchError

PARTITION_COUNT = 7
INPUTS = [range(1000), range(1000, 1001), range(0), range(1001, 5000)]


@contextmanager
def closing(executor: Any) -> Iterator[Executor]:
    yield executor
    executor.shutdown(kill_workers=True)


EXECUTORS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "here": nullcontext,
    "threads": lambda: ThreadPoolExecutor(2),
    "loky": lambda: closing(loky.ProcessPoolExecutor(2)),
    "fork": lambda: ProcessPoolExecutor(2, mp_context=get_context("fork")),
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


@pytest.fixture(scope="module", params=["here", "threads", pytest.param("processes", marks=pytest.mark.process)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    with EXECUTORS[request.param]() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.iterdir())


def test_every_row_reaches_the_reduce_task_of_its_partition(executor: Executor | None, tmp_path: Path) -> None:
    partitioner = HashPartitioner("key", PARTITION_COUNT)
    results = run(INPUTS, read, partitioner, keys, executor, exchange=Exchange.directory(tmp_path))
    numbers = partitioner.partition_numbers(pa.record_batch({"key": pa.array(range(5000), pa.int64())}))
    assert results == [
        (partition, [key for key in range(5000) if numbers[key] == partition]) for partition in range(PARTITION_COUNT)
    ]


def check_pool(kind: str, directory: Path) -> None:
    arguments = (INPUTS, read, HashPartitioner("key", PARTITION_COUNT), keys)
    with EXECUTORS[kind]() as executor:
        assert run(*arguments, executor, exchange=Exchange.directory(directory)) == run(*arguments)


@pytest.mark.process
def test_a_pool_of_loky_does_as_well(tmp_path: Path) -> None:
    check_pool("loky", tmp_path)


@pytest.mark.process
def test_a_forked_pool_does_as_well(tmp_path: Path) -> None:
    """In a process of its own: beside threads of Ray and Dask that other tests leave behind, forks may crash."""
    code = (
        "import sys, pathlib; from tests.shuffle.jobs.test_job import *; check_pool('fork', pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=Path(__file__).parents[3], check=True)


def test_map_tasks_do_not_share_a_partitioner_that_counts(executor: Executor | None, tmp_path: Path) -> None:
    inputs = [range(10), range(10, 20)]
    results = run(inputs, read, RoundRobinPartitioner(10), keys, executor, exchange=Exchange.directory(tmp_path))
    assert results == [(partition, [partition, partition + 10]) for partition in range(10)]


@pytest.mark.parametrize("inputs", [[], [range(0)], [range(0), range(0)]])
def test_no_rows_are_no_results(inputs: list[range], tmp_path: Path) -> None:
    assert run(inputs, read, HashPartitioner("key", 3), keys, exchange=Exchange.directory(tmp_path)) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reduce": fail}, LookupError, "partition . of"),
        ({"partitioner": HashPartitioner("nokey", 3)}, ValueError, "nokey"),
        ({"map": MapOptions(spills_only=True)}, ValueError, "spills_only"),
        ({"read": read_strings_too}, MismatchError, "another schema"),
    ],
)
def test_the_first_failure_is_raised(
    executor: Executor | None, tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    calls = {"read": read, "partitioner": HashPartitioner("key", 3), "reduce": keys, **arguments}
    with pytest.raises(error, match=message):
        run(INPUTS, executor=executor, exchange=Exchange.directory(tmp_path), **calls)


def test_options_reach_map_tasks_and_merge(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        run(
            INPUTS,
            read,
            HashPartitioner("key", 3),
            keys,
            exchange=Exchange.directory(tmp_path),
            map=MapOptions(spill_directories=(tmp_path / "nowhere",), method="buffered"),
        )


@pytest.mark.process
def test_mpi_runs_a_job(tmp_path: Path) -> None:
    """A driver and two ranks that work for it."""
    script = tmp_path / "job.py"
    script.write_text("from tests.shuffle.jobs.test_job import mpi_job\n\nif __name__ == '__main__':\n    mpi_job()\n")
    ran = subprocess.run(
        ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    script.unlink()
    assert ran.stdout.split() == ["0", "1", "2", "3", "4"], ran.stderr


def mpi_job() -> None:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        results = run(INPUTS, read, HashPartitioner("key", 5), keys, executor, exchange=Exchange.directory(os.getcwd()))
    assert sum(len(found) for _, found in results) == 5000
    sys.stdout.write(" ".join(str(partition) for partition, _ in results))


def orders(numbers: range) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"key": pa.array(numbers, pa.int64()), "price": pa.array(numbers, pa.float64())})


def joined(partition: int, left: pa.Table, right: pa.Table) -> list[tuple[int, float]]:
    rows = left.join(right, "key", join_type="inner").sort_by("key")
    return list(zip(rows["key"].to_pylist(), rows["price"].to_pylist(), strict=True))


def test_two_sides_are_joined(executor: Executor | None, tmp_path: Path) -> None:
    partitioner = HashPartitioner("key", 5)
    sides = [JoinSide([range(100)], read, partitioner), JoinSide([range(50, 80), range(80, 200)], orders, partitioner)]
    results = run_join(sides, joined, executor, exchange=Exchange.directory(tmp_path))
    assert sorted(pair for pairs in results for pair in pairs) == [(key, float(key)) for key in range(50, 100)]


def test_a_side_without_rows_has_no_columns(tmp_path: Path) -> None:
    sides = [JoinSide([range(10)], read, HashPartitioner("key", 1)), JoinSide([], read, HashPartitioner("key", 1))]
    shapes = run_join(sides, lambda _, left, right: (left.shape, right.shape), exchange=Exchange.directory(tmp_path))
    assert shapes == [((10, 1), (0, 0))]


def same_key(numbers: range) -> Iterator[pa.RecordBatch]:
    """Rows of which nearly all are in one partition."""
    for start in range(0, len(numbers), 300):
        rows = len(numbers[start : start + 300])
        yield pa.record_batch({"key": pa.array([1] * (rows - 1) + [start], pa.int64()), "pad": ["x" * 1000] * rows})


def count(_partition: int, rows: pa.Table) -> int:
    return int(rows.num_rows)


def total(counts: list[int]) -> int:
    return sum(counts)


@pytest.mark.parametrize("inputs", [[range(9000)], [range(3000)] * 3])
def test_a_large_partition_is_reduced_in_slices(inputs: list[range], tmp_path: Path) -> None:
    partitioner = HashPartitioner("key", 20)
    with pytest.warns(ShuffleWarning, match=r"where the mean partition has .* 1 partitions are skewed"):
        whole = run(inputs, same_key, partitioner, count, exchange=Exchange.directory(tmp_path))
    with pytest.warns(ShuffleWarning, match="skewed"):
        sliced = run(
            inputs,
            same_key,
            partitioner,
            count,
            exchange=Exchange.directory(tmp_path),
            combine=total,
            slice_bytes="4MiB",
        )
    assert sliced == whole
    assert sliced.report.skewed == [whole.index(max(whole))]
    assert sliced.report.stages["reduce"].tasks == whole.report.stages["reduce"].tasks + 2


def test_a_report_tells_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(
        INPUTS,
        read,
        HashPartitioner("key", 3),
        keys,
        exchange=Exchange.directory(tmp_path),
        progress=True,
        merge_from=2,
    )
    report = results.report
    assert str(report).startswith("3 partitions in ")
    assert json.loads(json.dumps(report.as_dict()))["stages"]["reduce"]["rows"] == 5000
    assert (report.stages["map"].tasks, report.stages["merge"].tasks) == (4, 1)
    assert "<title>reduce 0: " in report.timeline()
    shown = capsys.readouterr().err
    assert all(f"{stage}: " in shown for stage in report.stages)


class Liar(Executor):
    """An engine that answers what no task answered."""

    def submit(self, *_: Any, **_keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result("rows")
        return future


def test_an_engine_that_answers_something_else_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="the engine answered 'rows'"):
        run(INPUTS, read, HashPartitioner("key", 3), keys, Liar(), exchange=Exchange.directory(tmp_path))
