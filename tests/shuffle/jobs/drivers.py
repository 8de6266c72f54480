"""Drivers of jobs in processes of their own, which can be killed and interrupted."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from shuffle import Exchange, HashPartitioner, run
from shuffle.testing import SimulatedHosts
from tests.shuffle.jobs import workloads

MAPS_DONE = 6


@contextmanager
def connected(engine: str, address: str) -> Iterator[Executor]:
    """An executor of the driver's own, or of a cluster that another process has."""
    if engine == "dask":
        import distributed

        from shuffle.jobs.dask import DaskExecutor

        with distributed.Client(address) as client:
            yield DaskExecutor(client, hosts="name")
    elif engine == "ray":
        import ray

        from shuffle.jobs.ray import RayExecutor

        ray.init(address=address, log_to_driver=False)
        yield RayExecutor()
    elif engine == "hosts":
        hosts = SimulatedHosts("abc", preload=["tests.shuffle.jobs.workloads"])
        yield hosts
        hosts.shutdown()
    else:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield pool


def drive(engine: str, address: str, home: str, manifest: str) -> None:
    """Run a job that tells how far it is; each map takes some time."""
    exchange, seconds = (Exchange.directory(home), 0.5) if engine == "pool" else (Exchange.hosts([home]), 3)
    with connected(engine, address) as executor:
        run(
            range(workloads.MAP_COUNT),
            partial(workloads.read_slowly, workloads.nothing, 0.3),
            HashPartitioner("key", workloads.PARTITION_COUNT),
            workloads.REDUCE,
            executor,
            exchange=exchange,
            resume=manifest or None,
            progress=lambda stage, done, _total: print(stage, done, flush=True),  # noqa: T201 (who started it reads)
            lease_seconds=seconds,
        )


@contextmanager
def driver(
    home: Path, manifest: Path | str = "", engine: str = "pool", address: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A driver in a process of its own, six of whose maps are done."""
    command = [sys.executable, "-m", "tests.shuffle.jobs.drivers", engine, address, str(home), str(manifest)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line == f"map {MAPS_DONE}\n":
                yield process
                break
        process.kill()
        process.wait()
    finally:
        with suppress(ProcessLookupError):  # workers of the standard library's pools live on without their driver
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    drive(*sys.argv[1:])
