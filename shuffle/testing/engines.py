"""The laws of an executor that knows hosts and can place a task, for those who write one."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from shuffle.jobs.engines import PlacingExecutor
from shuffle.jobs.exchanges.protocol import Exchange
from shuffle.jobs.job import run
from shuffle.partitioners import HashPartitioner

_SECONDS = 60
"""For an engine to do what takes no time at all."""


class EngineConformance:
    """What a job asks of an engine.

    Args:
        executor: of a cluster with two hosts or more, on this machine: all see its temporary directory.

    In a test: ``for check in EngineConformance(executor).checks(): check()``. A check raises AssertionError.
    """

    def __init__(self, executor: PlacingExecutor) -> None:
        self.executor = executor

    def checks(self) -> Iterator[Callable[[], None]]:
        """Every check, by the name of its law."""
        for name in dir(self):
            if name.startswith("check_"):
                yield getattr(self, name)

    def check_it_is_an_executor(self) -> None:
        """Results and errors come back."""
        assert isinstance(self.executor, Executor)
        assert self.executor.submit(divmod, 7, 2).result(_SECONDS) == (3, 1)
        error = self.executor.submit(divmod, 7, 0).exception(_SECONDS)
        assert isinstance(error, ZeroDivisionError), f"the task's own error was wanted, not {error!r}"

    def check_a_task_runs_where_it_is_placed(self) -> None:
        """On each host, ``where`` names that host."""
        hosts = sorted(self.executor.hosts())
        assert len(hosts) > 1, "the conformance of an engine takes two hosts or more"
        for host in hosts:
            found = self.executor.submit_on([host], self.executor.where).result(_SECONDS)
            assert found.host == host

    def check_equal_calls_are_different_attempts(self) -> None:
        """A second attempt with the same arguments runs for itself."""
        with TemporaryDirectory() as directory:
            calls = [self.executor.submit(_leave_a_file, directory) for _ in range(2)]
            wait(calls, _SECONDS)
            assert len(os.listdir(directory)) == 2

    def check_where_is_picklable(self) -> None:
        """It is sent with each task."""
        pickle.dumps(self.executor.where)

    def check_slots_are_those_of_all_hosts(self) -> None:
        """Each host has one at least."""
        assert self.executor.slots >= len(self.executor.hosts())

    def check_a_job_runs_on_it(self) -> None:
        """With each exchange the result is that of a job without an engine."""
        work = partial(run, range(6), _read, HashPartitioner("key", 5), _count)
        expected = work()
        with TemporaryDirectory() as directory:
            for exchange in (Exchange.directory(directory), Exchange.hosts([directory])):
                assert work(self.executor, exchange=exchange) == expected
            deadline = time.monotonic() + _SECONDS
            while os.listdir(directory):
                assert time.monotonic() < deadline, "files of the job are left"
                time.sleep(0.05)


def _leave_a_file(directory: str) -> None:
    Path(directory, f"{time.monotonic_ns()}-{os.getpid()}").touch()


def _read(number: int) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"key": pa.array(range(number * 100, number * 100 + 100), pa.int64())})


def _count(partition: int, rows: pa.Table) -> tuple[int, int]:
    return partition, rows.num_rows
