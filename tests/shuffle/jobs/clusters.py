"""Clusters of several hosts on this machine, each with ways to disturb it."""

import logging
import os
import shutil
import signal
from collections.abc import Iterator
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
        executor: of the cluster.
        directories: of each host; a job's own directory there has the host's name.
    """

    def __init__(self, executor: PlacingExecutor, directory: Path) -> None:
        self.executor = executor
        self.directories = [directory]

    def a_host(self) -> str:
        """The one with the most outputs of map tasks."""
        return max(sorted(self.executor.hosts()), key=lambda host: len(self.outputs(host)))

    def outputs(self, host: str) -> list[Path]:
        """Of map tasks, on a host."""
        return [path for home in homes_of(self.directories, host) for path in sorted(Path(home).glob("map-*"))]

    def stop_server(self, host: str) -> None:
        signal_servers(self.directories, host, signal.SIGSTOP)

    def kill_server(self, host: str) -> None:
        assert signal_servers(self.directories, host, signal.SIGKILL)

    def kill_host(self, host: str) -> None:
        """Server, workers and files."""
        signal_servers(self.directories, host, signal.SIGKILL)
        self.kill_workers_for_good(host)
        for home in homes_of(self.directories, host):
            shutil.rmtree(home, ignore_errors=True)

    def kill_workers_for_good(self, host: str) -> None:
        raise NotImplementedError


class Simulated(Cluster):
    executor: SimulatedHosts

    def kill_workers_for_good(self, host: str) -> None:
        self.executor.kill_host(host, self.directories)


class Dask(Cluster):
    cluster: Any

    def kill_workers_for_good(self, host: str) -> None:
        nanny = self.cluster.workers[int(host)]
        nanny.auto_restart = False
        os.kill(nanny.pid, signal.SIGKILL)


class Ray(Cluster):
    cluster: Any

    def kill_workers_for_good(self, host: str) -> None:
        (node,) = [node for node in self.cluster.worker_nodes if node.node_id == host]
        for started in node.all_processes["raylet"]:
            for process in psutil.Process(started.process.pid).children(recursive=True):
                process.kill()  # a worker would outlive its node by seconds
        self.cluster.remove_node(node, allow_graceful=False)


@contextmanager
def simulated(directory: Path) -> Iterator[Cluster]:
    executor = SimulatedHosts("abc", preload=["tests.shuffle.jobs.workloads"])
    yield Simulated(executor, directory)
    executor.shutdown()


@contextmanager
def dask(directory: Path) -> Iterator[Cluster]:
    distributed = pytest.importorskip("distributed")
    from shuffle.jobs.dask import DaskExecutor

    with (
        distributed.LocalCluster(
            n_workers=HOSTS, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as made,
        distributed.Client(made) as client,
    ):
        cluster = Dask(DaskExecutor(client, hosts="name"), directory)
        cluster.cluster = made
        yield cluster


@contextmanager
def ray(directory: Path) -> Iterator[Cluster]:
    module = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as RayCluster

    from shuffle.jobs.ray import RayExecutor

    # The driver's node has no processors: tasks run on the others, which can be killed.
    made = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(HOSTS):
            made.add_node(num_cpus=1)
        module.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
        cluster = Ray(RayExecutor(), directory)
        cluster.cluster = made
        yield cluster
    finally:
        module.shutdown()
        made.shutdown()


CLUSTERS = {"hosts": simulated, "dask": dask, "ray": ray}
