"""What holds on each engine that has hosts: the laws of engines; and results are right whatever goes wrong.

Clusters take seconds to start, so that one has many things to bear; the loss of hosts comes last.
"""

import signal
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shuffle import Exchange, HashPartitioner, run
from shuffle.jobs.engines import PlacingExecutor
from shuffle.testing import EngineConformance
from shuffle.testing.hosts import signal_servers
from tests.shuffle.jobs import workloads
from tests.shuffle.jobs.clusters import CLUSTERS, Cluster
from tests.shuffle.jobs.drivers import MAPS_DONE, driver, is_running
from tests.shuffle.jobs.workloads import MAP_COUNT, PARTITION_COUNT, READ, REDUCE, Once

PARTITIONER = HashPartitioner("key", PARTITION_COUNT)
EXPECTED = run(range(MAP_COUNT), READ, PARTITIONER, REDUCE)

pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("default"),
]  # engines warn of many things, in threads of their own


@pytest.fixture(scope="module", params=CLUSTERS)
def shared(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with CLUSTERS[request.param]() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Three hosts; nothing is left on them, and no server runs."""
    shared.disk = tmp_path / "disk"
    shared.disk.mkdir()
    yield shared
    wait_for(lambda: not list(shared.disk.glob("*/*")))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def job(cluster: Cluster, **changes: Any) -> Any:
    arguments = {
        "read": READ,
        "reduce": REDUCE,
        "executor": cluster.executor,
        "exchange": Exchange.hosts([cluster.make_directory()]),
        "silent_seconds": 15,  # on a busy machine, a server takes seconds to start
        "lease_seconds": 25,
        **changes,
    }
    return run(range(MAP_COUNT), partitioner=PARTITIONER, **arguments)


class At:
    """Does something once, when a stage has come so far."""

    def __init__(self, stage: str, done: int, act: Callable[[], object]) -> None:
        self.when, self.act = (stage, done), act

    def __call__(self, stage: str, done: int, _total: int) -> None:
        if (stage, done) == self.when:
            self.when = ("", 0)
            self.act()


class TestEngine(EngineConformance):
    @pytest.fixture
    def engine(self, cluster: Cluster) -> PlacingExecutor:
        return cluster.executor


def test_workers_servers_and_files_that_are_lost(cluster: Cluster, tmp_path: Path) -> None:
    killed = job(cluster, read=partial(workloads.read, Once(tmp_path / "map", workloads.kill_this_process, 3)))
    assert killed == EXPECTED
    assert killed.report.maps_lost == 0

    killed = job(cluster, reduce=partial(workloads.reduce, Once(tmp_path / "reduce", workloads.kill_this_process, 2)))
    assert killed == EXPECTED
    assert killed.report.maps_lost == 0

    revived = job(cluster, progress=At("reduce", 1, lambda: cluster.kill_server(cluster.a_host())))
    assert revived == EXPECTED
    assert revived.report.maps_lost == 0, "the same files, at a new server"

    hung = job(cluster, progress=At("reduce", 1, lambda: cluster.stop_server(cluster.a_host())))
    assert hung == EXPECTED
    assert hung.report.maps_lost == 0, "a server that hangs is replaced"

    brief = job(cluster, progress=At("reduce", 1, lambda: cluster.interrupt_host(cluster.a_host(), 1.5)))
    assert brief == EXPECTED
    assert brief.report.stages["reduce"].seconds > 1.4, "it waited for the host"
    assert brief.report.stages["map"].attempts == MAP_COUNT, "nothing is computed again"

    damaged = job(cluster, progress=At("map", MAP_COUNT, partial(damage_a_map, cluster)), merge_from=100)
    assert damaged == EXPECTED
    assert damaged.report.maps_lost == 1

    with pytest.raises(LookupError, match="once"):
        # A task that begins after the end makes its directory anew: that goes with its lease.
        job(cluster, read=partial(workloads.read, workloads.raise_an_error), attempts=2, lease_seconds=5)


def test_a_worker_killed_in_a_host_merge_costs_no_map(cluster: Cluster, tmp_path: Path) -> None:
    """While a map still runs. The merge runs again, or its originals are read."""
    once = Once(tmp_path / "merge", workloads.kill_this_process)
    read = partial(workloads.read_the_last_slowly, 1.5)
    results = job(cluster, read=read, executor=Dying(cluster.executor, once), merge_from=2, stall_seconds=5)
    assert results == EXPECTED
    assert results.report.maps_lost == 0
    assert Path(f"{once.marker}-0").exists(), "a worker was killed"
    spans = results.report.spans
    last_map = max(span.stop for span in spans if span.stage == "map")
    assert min(span.start for span in spans if span.stage == "merge") < last_map - 0.5


class Dying(PlacingExecutor):
    """An engine of which one worker dies after it has published a merge, and before it can tell."""

    def __init__(self, executor: PlacingExecutor, once: Once) -> None:
        self.executor = executor
        self.where = executor.where
        self.call = partial(workloads.die_before_answering, once, 2)

    @property
    def slots(self) -> int:
        return self.executor.slots

    def hosts(self) -> Collection[str]:
        return self.executor.hosts()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.executor.submit(self.call, fn, *args, **kwargs)

    def submit_on(
        self, hosts: Collection[str], function: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Future[Any]:
        return self.executor.submit_on(hosts, self.call, function, *arguments, **keywords)


def test_drivers_that_die_and_are_interrupted(cluster: Cluster, tmp_path: Path) -> None:
    directory, manifest = cluster.make_directory(), tmp_path / "manifest"
    with driver(directory, "", cluster.engine, cluster.address) as process:
        process.send_signal(signal.SIGINT)
        servers = [pid for host in cluster.executor.hosts() for pid in signal_servers([directory], host, 0)]
        assert process.wait(30) != 0
    wait_for(lambda: not list(directory.iterdir()) and not any(map(is_running, servers)), 20)

    with driver(directory, manifest, cluster.engine, cluster.address) as process:
        process.kill()
    results = job(cluster, exchange=Exchange.hosts([directory]), resume=manifest)
    assert results == EXPECTED
    assert results.report.stages["map"].attempts <= MAP_COUNT - MAPS_DONE
    assert not manifest.exists()

    with driver(directory, "", cluster.engine, cluster.address) as process:
        process.kill()
    assert list(directory.iterdir()), "what is left goes with its lease"


def test_a_lost_host_costs_its_maps_alone(cluster: Cluster) -> None:
    """While maps run, and again while partitions are reduced."""
    lost: list[int] = []

    def lose_a_host() -> None:
        lost.append(cluster.kill_host(cluster.a_host()))

    results = job(cluster, progress=At("map", MAP_COUNT // 2, lose_a_host), merge_from=2, silent_seconds=5)
    assert results == EXPECTED
    assert 0 < results.report.maps_lost <= lost[0], "those of which the driver was told"
    results = job(cluster, progress=At("reduce", 1, lose_a_host), merge_from=100, silent_seconds=5)
    assert results == EXPECTED
    assert results.report.maps_lost == lost[1]


def damage_a_map(cluster: Cluster) -> None:
    path = cluster.outputs(cluster.a_host())[0]
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes([255]) * 64)
