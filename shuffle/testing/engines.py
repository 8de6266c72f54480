"""What every engine that knows hosts must do, as a class of tests for the authors of one."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import Executor, wait
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest

from shuffle.jobs.engines import PlacingExecutor
from shuffle.jobs.exchanges.protocol import Exchange
from shuffle.jobs.job import run
from shuffle.partitioners import HashPartitioner

_SECONDS = 60
"""For an engine to do what takes no time at all."""


class EngineConformance:
    """The laws of an engine, as tests of pytest.

    A test class that inherits the laws says which engine it is::

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        def engine(self):
            return MyExecutor()  # of a cluster with two hosts or more, all on this machine
    """

    @pytest.fixture
    def engine(self) -> PlacingExecutor:
        """Return the engine. To be overridden."""
        raise NotImplementedError

    def test_it_is_an_executor(self, engine: PlacingExecutor) -> None:
        """Results and errors come back."""
        assert isinstance(engine, Executor)
        assert engine.submit(divmod, 7, 2).result(_SECONDS) == (3, 1)
        error = engine.submit(divmod, 7, 0).exception(_SECONDS)
        assert isinstance(error, ZeroDivisionError), f"the task's own error was wanted, not {error!r}"

    def test_a_task_runs_where_it_is_placed(self, engine: PlacingExecutor) -> None:
        """On each host, ``where`` names that host."""
        hosts = sorted(engine.hosts())
        assert len(hosts) > 1, "the conformance of an engine takes two hosts or more"
        for host in hosts:
            found = engine.submit_on([host], engine.where).result(_SECONDS)
            assert found.host == host
        with pytest.raises(ValueError, match="no worker is on any of these hosts"):
            engine.submit_on(["nowhere"], dict)

    def test_equal_calls_are_different_attempts(self, engine: PlacingExecutor) -> None:
        """A second attempt with the same arguments runs for itself."""
        with TemporaryDirectory() as directory:
            calls = [engine.submit(_leave_a_file, directory) for _ in range(2)]
            wait(calls, _SECONDS)
            assert len(os.listdir(directory)) == 2

    def test_where_is_picklable(self, engine: PlacingExecutor) -> None:
        """It is sent with each task."""
        pickle.dumps(engine.where)

    def test_slots_are_those_of_all_hosts(self, engine: PlacingExecutor) -> None:
        """Each host has one at least."""
        assert engine.slots >= len(engine.hosts())

    def test_a_job_runs_on_it(self, engine: PlacingExecutor) -> None:
        """With each exchange the result is that of a job without an engine."""
        work = partial(run, range(6), _read, HashPartitioner("key", 5), _count)
        expected = work()
        with TemporaryDirectory() as directory:
            for exchange in (Exchange.directory(directory), Exchange.hosts([directory])):
                assert work(engine, exchange=exchange) == expected
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
