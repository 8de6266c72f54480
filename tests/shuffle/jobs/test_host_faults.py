"""What goes wrong on several hosts without a shared disk, on each engine: the result is that of an undisturbed job."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shuffle import Exchange, HashPartitioner, run
from tests.shuffle.jobs import workloads
from tests.shuffle.jobs.clusters import CLUSTERS, Cluster
from tests.shuffle.jobs.workloads import MAP_COUNT, PARTITION_COUNT, READ, REDUCE, Once

PARTITIONER = HashPartitioner("key", PARTITION_COUNT)
EXPECTED = run(range(MAP_COUNT), READ, PARTITIONER, REDUCE)

pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("default"),
]  # engines warn of many things, in threads of their own


@pytest.fixture(params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Three hosts; nothing is left on them, and no server runs."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with CLUSTERS[request.param](directory) as cluster:
        yield cluster
    wait_for(lambda: not list(directory.iterdir()))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def job(cluster: Cluster, **changes: Any) -> Any:
    arguments = {
        "read": READ,
        "reduce": REDUCE,
        "exchange": Exchange.hosts(cluster.directories),
        "silent_seconds": 15,  # on a busy machine, a server takes seconds to start
        "lease_seconds": 40,
        **changes,
    }
    return run(range(MAP_COUNT), partitioner=PARTITIONER, executor=cluster.executor, **arguments)


class At:
    """Does something once, when a stage has come so far."""

    def __init__(self, stage: str, done: int, act: Callable[[], object]) -> None:
        self.when, self.act = (stage, done), act

    def __call__(self, stage: str, done: int, _total: int) -> None:
        if (stage, done) == self.when:
            self.when = ("", 0)
            self.act()


def test_a_lost_host_costs_its_maps_alone(cluster: Cluster) -> None:
    """While maps run, and again while partitions are reduced."""
    lost: list[int] = []

    def lose_a_host() -> None:
        host = cluster.a_host()
        lost.append(len(cluster.outputs(host)))
        cluster.kill_host(host)

    results = job(cluster, progress=At("map", MAP_COUNT // 2, lose_a_host), merge_from=2, silent_seconds=5)
    assert results == EXPECTED
    assert 0 < results.report.maps_lost <= lost[0], "those of which the driver was told"
    results = job(cluster, progress=At("reduce", 1, lose_a_host), merge_from=100, silent_seconds=5)
    assert results == EXPECTED
    assert results.report.maps_lost == lost[1]


def test_workers_servers_and_files_that_are_lost(cluster: Cluster, tmp_path: Path) -> None:
    """A cluster takes seconds to start, so that one has many things to bear; each job by itself."""
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

    damaged = job(cluster, progress=At("map", MAP_COUNT, partial(damage_a_map, cluster)), merge_from=100)
    assert damaged == EXPECTED
    assert damaged.report.maps_lost == 1

    with pytest.raises(LookupError, match="once"):
        # A task that begins after the end makes its directory anew: that goes with its lease.
        job(cluster, read=partial(workloads.read, workloads.raise_an_error), attempts=2, lease_seconds=5)


def damage_a_map(cluster: Cluster) -> None:
    path = cluster.outputs(cluster.a_host())[0]
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes([255]) * 64)
