"""Several hosts on one machine: each has workers of its own, and can be killed. For tests of jobs and of exchanges."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from glob import glob
from json import loads
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from shuffle.jobs.engines import PlacingExecutor
from shuffle.jobs.exchanges.protocol import Where, WhereAmI

_VARIABLE = "SHUFFLE_SIMULATED_HOST"


def _become(host: str) -> None:
    os.environ[_VARIABLE] = host


def _where() -> Where:
    return Where(os.environ[_VARIABLE], "127.0.0.1")


class SimulatedHosts(PlacingExecutor):
    """A pool of processes for each of several hosts that are all this machine.

    Args:
        hosts: their names.
        workers: processes of each.
        preload: modules that workers find imported.
    """

    where: WhereAmI = staticmethod(_where)

    def __init__(self, hosts: Sequence[str], workers: int = 1, preload: Sequence[str] = ()) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["shuffle.jobs.tasks", *preload])
        self._workers = workers
        self._pools = {host: self._pool(host) for host in hosts}
        self._busy = dict.fromkeys(hosts, 0)

    def _pool(self, host: str) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._workers, self._context, _become, (host,))

    @property
    def slots(self) -> int:
        """Of all hosts that are there."""
        return self._workers * len(self._pools)

    def hosts(self) -> Collection[str]:
        """Those that were not killed."""
        return set(self._pools)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, to the host with the fewest."""
        return self.submit_on(self._pools, fn, *args, **kwargs)

    def submit_on(
        self, hosts: Collection[str], function: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Future[Any]:
        """Submit a call, to that of these hosts which has the fewest."""
        there = [host for host in self._pools if host in hosts]
        if not there:
            raise ValueError(f"no worker is on any of these hosts: {sorted(hosts)}")
        host = min(there, key=self._busy.__getitem__)
        try:
            future = self._pools[host].submit(function, *arguments, **keywords)
        except BrokenExecutor:
            self._pools[host] = self._pool(host)
            future = self._pools[host].submit(function, *arguments, **keywords)
        self._busy[host] += 1
        future.add_done_callback(lambda _: self._ended(host))
        return future

    def _ended(self, host: str) -> None:
        self._busy[host] -= 1

    def kill_workers(self, host: str) -> None:
        """Kill the processes of a host; it gets others."""
        for process in list((self._pools[host]._processes or {}).values()):
            process.kill()

    def kill_host(self, host: str, directories: Sequence[str | os.PathLike[str]]) -> None:
        """A host is gone: its workers, its server and what its disks have of any job in these directories."""
        self.kill_host_workers(host)
        signal_servers(directories, host, signal.SIGKILL)
        for home in homes_of(directories, host):
            shutil.rmtree(home, ignore_errors=True)

    def kill_host_workers(self, host: str) -> None:
        """Kill the processes of a host for good."""
        self.kill_workers(host)
        self._pools.pop(host).shutdown(wait=False, cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down all pools."""
        for pool in self._pools.values():
            pool.shutdown(wait, cancel_futures=cancel_futures)


def homes_of(directories: Sequence[str | os.PathLike[str]], host: str) -> list[str]:
    """The directories of all jobs on a host."""
    return [home for directory in directories for home in glob(f"{os.fspath(directory)}/shuffle-*-{host}")]


def signal_servers(directories: Sequence[str | os.PathLike[str]], host: str, number: int) -> list[int]:
    """Send a signal to the servers of all jobs on a host; their process identifiers."""
    sent = []
    for home in homes_of(directories, host):
        with suppress(OSError, ValueError):
            pid = loads(Path(home, "server.json").read_text())["pid"]
            os.kill(pid, number)
            sent.append(pid)
    return sent
