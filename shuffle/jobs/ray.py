"""Ray as an engine: tasks go to the nodes of a cluster. Needs the extra ``ray``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shuffle.jobs.engines import PlacingExecutor
from shuffle.jobs.exchanges.protocol import Where, WhereAmI


def _where() -> Where:
    return Where(ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address())


class RayExecutor(PlacingExecutor):
    """Runs tasks on the Ray cluster to which this process is connected: ``ray.init`` comes first.

    Args:
        cpus: of one task.

    Ray itself runs no task again: a job sees each failure and starts another attempt. Nodes are hosts. Thread-safe.
    """

    where: WhereAmI = staticmethod(_where)

    def __init__(self, *, cpus: float = 1) -> None:
        self._cpus = cpus
        # A worker process is as good for the next task; without a retry that the job would not know of.
        self._call = ray.remote(num_cpus=cpus, max_retries=0)(_call)
        self._running: dict[Future[Any], Any] = {}
        self._turn = 0

    @property
    def slots(self) -> int:
        """How many tasks the cluster has processors for."""
        return max(1, int(sum(node["Resources"].get("CPU", 0) for node in self._nodes()) / self._cpus))

    def hosts(self) -> Collection[str]:
        """Identifiers of the nodes that are alive."""
        return {node["NodeID"] for node in self._nodes() if node["Resources"].get("CPU", 0) >= self._cpus}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, to any node."""
        return self._submitted(self._call.options(scheduling_strategy="SPREAD"), partial(fn, *args, **kwargs))

    def submit_on(
        self, hosts: Collection[str], function: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Future[Any]:
        """Submit a call, to one of these nodes; in turn, where there are several."""
        there = sorted(set(hosts) & set(self.hosts()))
        if not there:
            raise ValueError(f"no worker is on any of these hosts: {sorted(hosts)}")
        self._turn += 1
        strategy = NodeAffinitySchedulingStrategy(there[self._turn % len(there)], soft=False)
        return self._submitted(
            self._call.options(scheduling_strategy=strategy), partial(function, *arguments, **keywords)
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what runs, where that is wanted. The cluster stays."""
        for future in list(self._running):
            if cancel_futures:
                future.cancel()
            elif wait:
                future.exception()

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in ray.nodes() if node["Alive"]]

    def _submitted(self, remote: Any, call: Callable[[], Any]) -> Future[Any]:
        reference = remote.remote(call)
        future: Future[Any] = Future()
        self._running[future] = reference

        def arrived(of_ray: Future[Any]) -> None:
            self._running.pop(future, None)
            if future.set_running_or_notify_cancel():
                if (error := of_ray.exception()) is not None:
                    # What a task raised comes wrapped.
                    future.set_exception(getattr(error, "cause", None) or error)
                else:
                    future.set_result(of_ray.result())

        def cancelled(asked: Future[Any]) -> None:
            if asked.cancelled():
                self._running.pop(asked, None)
                ray.cancel(reference)  # of a future, cancel() does not reach the task

        reference.future().add_done_callback(arrived)
        future.add_done_callback(cancelled)
        return future


def _call(function: Callable[[], Any]) -> Any:
    return function()
