"""Dask as an engine: tasks go to the workers of a ``distributed.Client``. Needs the extra ``dask``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, Literal
from urllib.parse import urlsplit

import distributed

from shuffle.jobs.engines import PlacingExecutor
from shuffle.jobs.exchanges.protocol import Where, WhereAmI

HostNames = Literal["address", "name"]


class DaskExecutor(PlacingExecutor):
    """Runs tasks on a Dask cluster.

    Args:
        client: of the cluster. It stays open.
        hosts: What names a host: ``"address"``, the network address that its workers share; or ``"name"``, for clusters
            whose workers each count as a host, such as a ``LocalCluster`` in a test. A placed task is lost with its
            worker then, and the job waits for ``stall_seconds``.
        silent_seconds: Workers without a heartbeat for this long are given nothing.

    Dask runs a task again when its worker dies, unseen by the driver; a job counts only the answer. Thread-safe.
    """

    def __init__(self, client: Any, *, hosts: HostNames = "address", silent_seconds: float = 5) -> None:
        self._client = client
        self._names = hosts
        self._silent_seconds = silent_seconds
        # Equal calls are different attempts: with pure=True the second one would be given the first one's result.
        self._executor = client.get_executor(pure=False)
        self.where: WhereAmI = _where_by_name if hosts == "name" else _where_by_address

    @property
    def slots(self) -> int:
        """Threads of all workers."""
        return sum(worker["nthreads"] for worker in self._workers().values())

    def hosts(self) -> Collection[str]:
        """Hosts of the workers that are there."""
        return {self._host_of(address, worker) for address, worker in self._workers().items()}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, to any worker."""
        future: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        return future

    def submit_on(
        self, hosts: Collection[str], function: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Future[Any]:
        """Submit a call, to the workers of these hosts."""
        wanted = {
            address: host
            for address, worker in self._workers().items()
            if (host := self._host_of(address, worker)) in hosts
        }
        if not wanted:
            raise ValueError(f"no worker is on any of these hosts: {sorted(hosts)}")
        # A worker that is started again has another address, and Dask would keep a task that waits for the old one.
        places = sorted(set(wanted.values())) if self._names == "address" else list(wanted)
        future: Future[Any] = self._executor.submit(
            function, *arguments, workers=places, allow_other_workers=False, **keywords
        )
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. The client and its cluster stay."""
        self._executor.shutdown(wait=wait and not cancel_futures)

    def _workers(self) -> dict[str, dict[str, Any]]:
        info = self._client.scheduler_info(n_workers=-1)
        workers: dict[str, dict[str, Any]] = info["workers"]
        newest = max((worker["last_seen"] for worker in workers.values()), default=0.0)
        # By the scheduler's clock; only the newest heartbeat tells what that says now.
        return {
            address: worker
            for address, worker in workers.items()
            if newest - worker["last_seen"] <= self._silent_seconds
        }

    def _host_of(self, address: str, worker: dict[str, Any]) -> str:
        return str(worker["name"]) if self._names == "name" else str(urlsplit(address).hostname)


def _where_by_name() -> Where:
    worker = distributed.get_worker()
    return Where(str(worker.name), str(urlsplit(worker.address).hostname))


def _where_by_address() -> Where:
    address = str(urlsplit(distributed.get_worker().address).hostname)
    return Where(address, address)
