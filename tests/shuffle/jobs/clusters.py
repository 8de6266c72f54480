"""Clusters of several hosts on this machine, each with ways to disturb it."""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from shuffle.jobs.engines import PlacingExecutor
from shuffle.testing.hosts import SimulatedHosts, homes_of, signal_servers

HOSTS = 3


class Cluster:
    """Three hosts with a worker each.

    Attributes:
        engine, address: for a driver in another process; see ``drivers.py``.
        executor: of the cluster.
        disk: of all hosts.
        directories: of the hosts' disks, for one job; the job's own directory there has the host's name.
    """

    engine: str
    disk: Path
    directories: Sequence[Path] = ()

    def __init__(self, executor: PlacingExecutor, address: str = "") -> None:
        self.executor = executor
        self.address = address

    def make_directory(self) -> Path:
        """Begin a job: what disturbs its servers leaves those of earlier ones alone, which may be ending."""
        directory = self.disk / str(time.monotonic_ns())
        directory.mkdir()
        self.directories = [directory]
        return directory

    def a_host(self) -> str:
        """The one with the most outputs of map tasks."""
        return max(sorted(self.executor.hosts()), key=lambda host: len(self.outputs(host)))

    def outputs(self, host: str) -> list[Path]:
        """Of map tasks, on a host."""
        return [path for home in homes_of(self.directories, host) for path in sorted(Path(home).glob("map-*"))]

    def stop_server(self, host: str) -> None:
        signal_servers(self.directories, host, signal.SIGSTOP)

    def interrupt_host(self, host: str, seconds: float) -> None:
        """Stop all processes of a host, and let them go on after some time."""
        workers = self.workers(host)
        assert workers
        for process in workers:
            process.suspend()
        assert signal_servers(self.directories, host, signal.SIGSTOP)

        def go_on() -> None:
            signal_servers(self.directories, host, signal.SIGCONT)
            for process in workers:
                process.resume()

        threading.Timer(seconds, go_on).start()

    def workers(self, host: str) -> list[psutil.Process]:
        """Processes of a host that run tasks."""
        raise NotImplementedError

    def kill_server(self, host: str) -> None:
        assert signal_servers(self.directories, host, signal.SIGKILL)

    def kill_host(self, host: str) -> int:
        """Server, workers and files; how many outputs of map tasks are gone."""
        signal_servers(self.directories, host, signal.SIGKILL)
        self.kill_workers_for_good(host)
        lost = len(self.outputs(host))
        for home in homes_of(self.directories, host):
            shutil.rmtree(home, ignore_errors=True)
        return lost

    def kill_workers_for_good(self, host: str) -> None:
        raise NotImplementedError


class Simulated(Cluster):
    engine = "hosts"
    executor: SimulatedHosts

    def workers(self, host: str) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in self.executor._pools[host]._processes or {}]

    def kill_workers_for_good(self, host: str) -> None:
        self.executor.kill_host_workers(host)


class Dask(Cluster):
    engine = "dask"
    cluster: Any

    def workers(self, host: str) -> list[psutil.Process]:
        return [psutil.Process(self.cluster.workers[int(host)].pid)]

    def kill_workers_for_good(self, host: str) -> None:
        nanny = self.cluster.workers[int(host)]
        nanny.auto_restart = False
        os.kill(nanny.pid, signal.SIGKILL)


class Ray(Cluster):
    engine = "ray"
    cluster: Any

    def node(self, host: str) -> Any:
        (node,) = [node for node in self.cluster.worker_nodes if node.node_id == host]
        return node

    def workers(self, host: str) -> list[psutil.Process]:
        raylets = self.node(host).all_processes["raylet"]
        return [each for raylet in raylets for each in psutil.Process(raylet.process.pid).children(recursive=True)]

    def kill_workers_for_good(self, host: str) -> None:
        node = self.node(host)
        for process in self.workers(host):
            process.kill()  # a worker would outlive its node by seconds
        self.cluster.remove_node(node, allow_graceful=False)


@contextmanager
def simulated() -> Iterator[Cluster]:
    executor = SimulatedHosts("abc", preload=["tests.shuffle.jobs.workloads"])
    yield Simulated(executor)
    executor.shutdown()


@contextmanager
def dask() -> Iterator[Cluster]:
    distributed = pytest.importorskip("distributed")
    from shuffle.jobs.dask import DaskExecutor

    with (
        distributed.LocalCluster(
            n_workers=HOSTS, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as made,
        distributed.Client(made) as client,
    ):
        cluster = Dask(DaskExecutor(client, hosts="name"), made.scheduler_address)
        cluster.cluster = made
        yield cluster


@contextmanager
def ray() -> Iterator[Cluster]:
    module = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as RayCluster

    from shuffle.jobs.ray import RayExecutor

    # The driver's node has no processors: tasks run on the others, which can be killed.
    made = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(HOSTS):
            made.add_node(num_cpus=1)
        module.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
        cluster = Ray(RayExecutor(), made.address)
        cluster.cluster = made
        yield cluster
    finally:
        module.shutdown()
        made.shutdown()


CLUSTERS = {"hosts": simulated, "dask": dask, "ray": ray}
