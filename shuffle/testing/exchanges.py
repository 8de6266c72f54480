"""What every exchange of jobs must do, as a class of tests for the authors of one."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pyarrow as pa
import pytest

from shuffle.jobs.catalogue import Catalogue
from shuffle.jobs.descriptor import Output, Source
from shuffle.jobs.engines import Engine, this_host
from shuffle.jobs.events import Rules
from shuffle.jobs.exchanges.protocol import Exchange, JobFiles, Keeper, Where, WhereAmI
from shuffle.jobs.job import run
from shuffle.jobs.reading import SourceLostError, Traffic, read_unit
from shuffle.jobs.reduce_units import Unit
from shuffle.jobs.tasks import AbandonedError, map_task
from shuffle.options import MapOptions
from shuffle.partitioners import RoundRobinPartitioner

_SECRET = "xyzzy-of-the-job"
_SECONDS = 60
"""For a server to start, and for files to be removed, on a busy machine."""


class ExchangeConformance:
    """The laws of an exchange, as tests of pytest.

    A test class that inherits the laws says which exchange it is::

    class TestMyExchange(ExchangeConformance):
        @pytest.fixture
        def exchange(self, tmp_path):
            return MyExchange(tmp_path)

    All hosts of the tests are this machine. The fixture makes an exchange that nobody else uses.
    """

    @pytest.fixture
    def exchange(self) -> Exchange:
        """Return the exchange. To be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def keeper(self, exchange: Exchange) -> Iterator[Keeper]:
        """A job that has begun, and ends."""
        keeper = _begun(exchange)
        yield keeper
        keeper.close(Engine(None), keep=False)

    def test_what_tasks_are_given_is_picklable_and_shows_no_secret(self, keeper: Keeper) -> None:
        assert pickle.loads(pickle.dumps(keeper.files)).host() == keeper.files.host()
        assert _SECRET not in repr(keeper.files) + repr(_published(keeper))

    def test_a_descriptor_is_json(self, keeper: Keeper) -> None:
        output = _published(keeper)
        again = Output.from_dict(json.loads(json.dumps(output.as_dict())))
        assert again == output
        assert again.sizes is not None
        assert int(again.sizes.sum()) == output.byte_count

    def test_rows_are_read_on_their_host_and_on_another(self, exchange: Exchange, keeper: Keeper) -> None:
        source = _source(_published(keeper))
        assert _rows(source, keeper.files) == _ROWS
        elsewhere = _begun(exchange, _elsewhere)
        assert _rows(source, elsewhere.files) == _ROWS
        elsewhere.close(Engine(None), keep=True)

    def test_two_attempts_of_a_map_do_not_meet(self, keeper: Keeper) -> None:
        one, other = _published(keeper), _published(keeper)
        assert one.path != other.path
        keeper.forget(one)
        assert _rows(_source(other), keeper.files) == _ROWS

    def test_what_is_forgotten_is_gone(self, exchange: Exchange, keeper: Keeper) -> None:
        source = _source(output := _published(keeper))
        keeper.forget(output)
        elsewhere = _begun(exchange, _elsewhere)
        for files in (keeper.files, elsewhere.files):
            with pytest.raises(SourceLostError) as caught:
                _rows(source, files)
            assert caught.value.lost.kind == "gone"
        elsewhere.close(Engine(None), keep=True)

    def test_a_job_that_ends_leaves_nothing(self, exchange: Exchange) -> None:
        keeper = _begun(exchange)
        output = _published(keeper)
        keeper.close(Engine(None), keep=False)
        _wait_for_the_end(output)

    def test_a_task_whose_job_has_ended_stops(self, exchange: Exchange) -> None:
        keeper = _begun(exchange)

        def read(_number: int) -> Iterator[pa.RecordBatch]:
            for batch in _TABLE.to_batches(max_chunksize=10):
                keeper.close(Engine(None), keep=False)
                yield batch

        with pytest.raises(AbandonedError, match="is gone, and so is its job"):
            map_task(3, 3, read, _PARTITIONER, keeper.files, MapOptions())

    def test_another_driver_takes_over(self, exchange: Exchange) -> None:
        first = _begun(exchange)
        output = _published(first)
        first.close(Engine(None), keep=True)
        second = _begun(exchange)
        assert _rows(_source(output), second.files) == _ROWS
        if output.server is not None:
            second.watch(output.host, output.server)
        second.close(Engine(None), keep=False)
        _wait_for_the_end(output)

    def test_what_a_dead_driver_leaves_goes_with_its_lease(self, exchange: Exchange) -> None:
        """At the latest when the next job begins there."""
        dead = _begun(exchange, lease_seconds=0.5)
        output = _published(dead)
        dead.close(Engine(None), keep=True)
        time.sleep(0.6)
        assert run([0], _read, _PARTITIONER, _count, exchange=exchange) == [50, 50]
        _wait_for_the_end(output)

    def test_a_whole_job_is_that_of_any_exchange(self, exchange: Exchange) -> None:
        work: Callable[..., list[int]] = run
        arguments = (range(4), _read, _PARTITIONER, _count)
        assert work(*arguments, exchange=exchange, merge_from=2) == work(*arguments)


_TABLE = pa.table({"number": pa.array(range(100), pa.int64())})
_PARTITIONER = RoundRobinPartitioner(2)
_ROWS = [list(range(0, 100, 2)), list(range(1, 100, 2))]


def _read(_number: int) -> list[pa.Table]:
    return [_TABLE]


def _count(_partition: int, rows: pa.Table) -> int:
    return int(rows.num_rows)


def _elsewhere() -> Where:
    return Where("elsewhere", "127.0.0.1")


def _begun(exchange: Exchange, where: WhereAmI = this_host, lease_seconds: float = 60) -> Keeper:
    return exchange.keep("job", _SECRET, where, lease_seconds)


def _published(keeper: Keeper) -> Output:
    output = map_task(3, 3, _read, _PARTITIONER, keeper.files, MapOptions())
    assert isinstance(output, Output), output
    if output.server is not None:
        keeper.watch(output.host, output.server)
    return output


def _source(output: Output) -> Source:
    """The output as reduce tasks are told of it."""
    files = Catalogue([4], 2, Rules())
    files.accept(output, counts_bytes=True)
    if output.server is not None:
        files.move(output.host, output.server)
    ((source,),) = files.sources()
    return source


def _rows(source: Source, files: JobFiles) -> list[list[int]]:
    with ExitStack() as stack:
        tables = read_unit(Unit(0, 2), [source], files, Traffic(), stack)
        return [table["number"].to_pylist() for table in tables]


def _wait_for_the_end(output: Output) -> None:
    assert output.path is not None
    deadline = time.monotonic() + _SECONDS
    while os.path.exists(os.path.dirname(output.path)):
        assert time.monotonic() < deadline, f"{os.path.dirname(output.path)} is left"
        time.sleep(0.05)
