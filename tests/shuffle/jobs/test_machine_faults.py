"""What goes wrong with the links and disks of hosts that share nothing else, on each engine that has hosts."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shuffle import Exchange, HashPartitioner, run
from tests.shuffle.jobs import workloads
from tests.shuffle.jobs.machines import ENGINES, Machines
from tests.shuffle.jobs.test_clusters import At, Dying
from tests.shuffle.jobs.workloads import MAP_COUNT, PARTITION_COUNT, READ, REDUCE, Once

PARTITIONER = HashPartitioner("key", PARTITION_COUNT)
EXPECTED = run(range(MAP_COUNT), READ, PARTITIONER, REDUCE)

pytestmark = [pytest.mark.mount, pytest.mark.filterwarnings("default")]


@pytest.fixture(params=ENGINES)
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    with ENGINES[request.param](tmp_path / "disk") as machines:
        yield machines


def job(machines: Machines, progress: Callable[[str, int, int], None] | bool = False, **changes: Any) -> Any:
    """The report of a job whose results are right."""
    changes = {
        "executor": machines.executor,
        "exchange": Exchange.hosts([machines.disk]),
        "merge_from": 100,
        "silent_seconds": 4,
        "lease_seconds": 40,
        **changes,
    }
    results = run(range(MAP_COUNT), READ, PARTITIONER, REDUCE, progress=progress, **changes)
    assert results == EXPECTED
    return results.report


def test_full_disks_and_links_that_are_down(machines: Machines, tmp_path: Path) -> None:
    """A cluster takes seconds to start, so that one has many things to bear; each job by itself."""
    large = machines.fill_disk(1)
    report = job(machines)
    assert any("are full" in retry.reason for retry in report.retries)
    large.unlink()

    report = job(machines, At("map", MAP_COUNT // 2, lambda: machines.fill_disk(1)), merge_from=2)
    assert report.maps_lost == 0, "what was published before there was no room stays"
    large.unlink()

    began = time.monotonic()
    once = Once(tmp_path / "merge", workloads.kill_this_process)
    report = job(machines, executor=Dying(machines.executor, once), merge_from=2)
    assert report.maps_lost == 0
    assert time.monotonic() - began < 50, "the merge did not wait for the worker that was killed"

    def interrupt_link() -> None:
        machines.set_link(1, "down")
        threading.Timer(2, machines.set_link, (1, "up")).start()

    report = job(machines, At("reduce", 1, interrupt_link))
    assert report.stages["reduce"].seconds > 1.9, "it waited for the host"
    assert report.stages["map"].attempts == MAP_COUNT, "nothing is computed again"

    began = time.monotonic()
    report = job(machines, At("reduce", 1, lambda: machines.set_link(1, "down")))
    assert 0 < report.maps_lost < MAP_COUNT
    assert time.monotonic() - began < 60, "it did not wait for time-outs of the network, one after the other"
