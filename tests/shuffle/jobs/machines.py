"""Hosts with a link and a disk of their own: network and mount namespaces of this machine, on a bridge. Needs root."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from shuffle.jobs.engines import PlacingExecutor

HOSTS = 3
DISK_MIB = 8


class Machines:
    """Three hosts that share nothing but a bridge.

    Attributes:
        executor: of the engine, whose workers run on them.
        disk: path under which each host sees a disk that nobody else sees.
    """

    executor: PlacingExecutor

    def __init__(self, stack: ExitStack, disk: Path) -> None:
        self._stack = stack
        self.disk = disk
        disk.mkdir()
        number = os.getpid()
        self._name = f"sh{number % 100_000}"
        self._subnet = f"198.{18 + number // 250 % 2}.{number % 250}"  # of the range for measurements (RFC 2544)
        self.address = f"{self._subnet}.1"
        self._processes: list[subprocess.Popen[bytes]] = []
        _ip("link add", self._name, "type bridge")
        stack.callback(_ip, "link del", self._name)
        _ip("addr add", f"{self.address}/24", "dev", self._name)
        _ip("link set", self._name, "up")
        for host in range(HOSTS):
            self._add_host(host)

    def _add_host(self, host: int) -> None:
        link = f"{self._name}-{host}"
        _ip("netns add", link)
        self._stack.callback(_ip, "netns del", link)
        _ip("link add", link, "type veth peer name eth0 netns", link)
        self._stack.callback(_ip, "link del", link)
        _ip("link set", link, "master", self._name, "up")
        _ip("-n", link, "addr add", f"{self.address_of(host)}/24", "dev eth0")
        for device in ("eth0", "lo"):
            _ip("-n", link, "link set", device, "up")

    def address_of(self, host: int) -> str:
        return f"{self._subnet}.{host + 2}"

    def start(self, *command: str) -> None:
        """On each host, start a command with its disk mounted; ADDRESS stands for the host's address."""
        # Ray's nodes must not share the directory of the head's logs and sockets, as no machines would.
        mounts = (
            f"mount -t tmpfs -o size={DISK_MIB}m disk {self.disk} && mkdir -p /tmp/ray && mount -t tmpfs ray /tmp/ray"
        )
        for host in range(HOSTS):
            words = [word.replace("ADDRESS", self.address_of(host)) for word in command]
            process = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    f"{self._name}-{host}",
                    "sh",
                    "-c",
                    f'{mounts} && exec "$0" "$@"',
                    sys.executable,
                    *words,
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.getcwd()},
            )
            self._processes.append(process)
            self._stack.callback(process.wait)
            self._stack.callback(self._kill_all, f"{self._name}-{host}")

    def _kill_all(self, namespace: str) -> None:
        for pid in subprocess.check_output(["ip", "netns", "pids", namespace], text=True).split():
            os.kill(int(pid), signal.SIGKILL)

    def disk_of(self, host: int) -> Path:
        """The disk of a host, as seen from here."""
        return Path(f"/proc/{self._processes[host].pid}/root{self.disk}")

    def fill_disk(self, host: int) -> Path:
        """Leave no room on a host's disk; the file that takes it."""
        path = self.disk_of(host) / "large"
        with suppress(OSError), open(path, "wb", 0) as file:
            while True:
                file.write(bytes(4096))
        return path

    def set_link(self, host: int, state: str) -> None:
        """Pull a host's cable (down), or plug it in again (up)."""
        _ip("link set", f"{self._name}-{host}", state)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *" ".join(words).split()], check=True)


@contextmanager
def machines(disk: Path) -> Iterator[Machines]:
    if shutil.which("ip") is None:
        pytest.skip("not installed: ip")
    with ExitStack() as stack:
        yield Machines(stack, disk)


@contextmanager
def dask(disk: Path) -> Iterator[Machines]:
    distributed = pytest.importorskip("distributed")
    from shuffle.jobs.dask import DaskExecutor

    with (
        machines(disk) as made,
        distributed.LocalCluster(
            n_workers=0, host=made.address, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        worker = ["-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--host", "ADDRESS"]
        made.start(*worker, "--nthreads", "1", "--no-dashboard")
        client.wait_for_workers(HOSTS)
        made.executor = DaskExecutor(client)
        yield made


@contextmanager
def ray(disk: Path) -> Iterator[Machines]:
    module = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from shuffle.jobs.ray import RayExecutor

    with machines(disk) as made:
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "node_ip_address": made.address},
        )
        try:
            worker = ["-m", "ray.scripts.scripts", "start", f"--address={cluster.address}", "--node-ip-address=ADDRESS"]
            made.start(*worker, "--num-cpus=1", "--block")
            module.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            made.executor = RayExecutor()
            while len(made.executor.hosts()) < HOSTS:
                time.sleep(0.1)
            yield made
        finally:
            module.shutdown()
            cluster.shutdown()


ENGINES = {"dask": dask, "ray": ray}
