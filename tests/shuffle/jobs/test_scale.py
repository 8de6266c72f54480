"""What a driver holds: maps + partitions + hosts × partitions, and never maps × partitions."""

import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shuffle import Exchange, HashPartitioner, run
from shuffle.jobs import tasks
from shuffle.jobs.descriptor import Output, Reduced
from shuffle.jobs.engines import PlacingExecutor, this_host

MAPS = PARTITIONS = 10_000
HOSTS = 100


class FakeCluster(PlacingExecutor):
    """Answers at once what tasks on a hundred hosts would answer, without running them."""

    where = staticmethod(this_host)
    slots = 400

    def hosts(self) -> Collection[str]:
        return {str(host) for host in range(HOSTS)}

    def submit(self, fn: Any, /, *args: Any, **_keywords: Any) -> Future[Any]:
        assert isinstance(fn, partial)
        assert not args
        future: Future[Any] = Future()
        function, *arguments = fn.args
        if function is tasks.map_task:
            future.set_result(published((arguments[0],), "map"))
        elif function is tasks.merge_task:
            future.set_result(published(tuple(source.map for source in arguments[0]), "merge"))
        else:
            unit = arguments[0]
            values = list(range(unit.start, unit.stop))
            future.set_result(Reduced(values=values, host="0", rows=1, bytes_local=0, bytes_fetched=0, seconds=0.0))
        return future

    def submit_on(self, hosts: Collection[str], function: Any, /, *arguments: Any, **_keywords: Any) -> Future[Any]:
        assert len(hosts) == 1
        return self.submit(function, *arguments)


def published(maps: tuple[int, ...], kind: str) -> Output:
    sizes = np.full(PARTITIONS, 1000, np.int64)
    host = str(maps[0] % HOSTS)
    return Output(
        maps=maps,
        attempt=f"{maps[0]:016x}",
        host=host,
        path=f"/disk/shuffle-job-{host}/{kind}-{maps[0]:06}-{maps[0]:016x}.arrow",
        rows=PARTITIONS,
        byte_count=int(sizes.sum()),
        sizes=sizes,
        digest=f"1-{maps[0]:016x}",
    )


def no_rows(_number: int) -> list[pa.RecordBatch]:
    return []


def big_job(directory: str) -> None:
    """Prints the peak of memory, in MiB."""
    exchange = Exchange.directory(directory)
    exchange.merges = "host"  # as on the disks of hosts
    results = run(range(MAPS), no_rows, HashPartitioner("key", PARTITIONS), max, FakeCluster(), exchange=exchange)
    assert results == list(range(PARTITIONS))
    assert results.report.stages["merge"].tasks >= HOSTS
    # Not getrusage: its figure covers the process that started this one, too, from before exec.
    status = Path("/proc/self/status").read_text()
    sys.stdout.write(str(int(status.partition("VmHWM:")[2].split()[0]) // 1024))


@pytest.mark.process
def test_ten_thousand_maps_and_partitions_take_less_than_a_gibibyte(tmp_path: Path) -> None:
    script = "import sys; from tests.shuffle.jobs.test_scale import big_job; big_job(sys.argv[1])"
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 1024
