"""Engines: what runs tasks. Any ``concurrent.futures.Executor`` is one; some also know hosts and can place a task."""

from __future__ import annotations

import abc
import os
import socket
from collections.abc import Callable, Collection
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from shuffle.jobs.exchanges.protocol import Where, WhereAmI


class PlacingExecutor(Executor, abc.ABC):
    """An executor that knows its hosts and can place a task. ``shuffle.testing.EngineConformance`` has its laws."""

    where: WhereAmI
    """Asked inside a task: the host on which it runs. Picklable."""

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """How many tasks run at once."""

    @abc.abstractmethod
    def hosts(self) -> Collection[str]:
        """Names of the hosts that have a worker now, as ``where`` names them."""

    @abc.abstractmethod
    def submit_on(
        self, hosts: Collection[str], function: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Future[Any]:
        """Submit a call that runs on one of these hosts and nowhere else."""


def this_host() -> Where:
    """Where this runs, for executors whose workers are all on it."""
    return Where(socket.gethostname(), "127.0.0.1")


class HereExecutor(Executor):
    """Runs each task at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the task; the future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (the future has it)
            future.set_exception(error)
        return future


class Engine:
    """An executor as a job uses it: one that broke is replaced, and hosts are asked for only where they are known.

    Args:
        executor: what runs tasks; None for this thread. It is never shut down here.
    """

    def __init__(self, executor: Executor | None) -> None:
        self._executor = HereExecutor() if executor is None else executor
        self._replacements: list[Executor] = []
        self.placing: PlacingExecutor | None = executor if isinstance(executor, PlacingExecutor) else None
        self.where: WhereAmI = this_host if self.placing is None else self.placing.where
        self.slots: int = _slots(self._executor)
        self.queued: int = 1 if executor is None else 2 * self.slots
        """How many tasks are best submitted at once: enough that no worker waits for the next."""
        self._lost: set[str] = set()

    def hosts(self) -> Collection[str] | None:
        """Hosts that have a worker now; None where the executor does not know."""
        return None if self.placing is None else self.placing.hosts()

    def lose(self, host: str) -> None:
        """Give a host no more tasks, as long as there are others: an engine may take a minute to notice its loss."""
        self._lost.add(host)

    def submit(self, call: Callable[[], Any], *, host: str = "", avoid: Collection[str] = ()) -> Future[Any]:
        """Submit a call: on a host, or on none of some hosts, if the executor can place it.

        Raises:
            BrokenExecutor: the executor broke, and there is no other of its kind.
            ValueError: there is no such host, or there are no others.
        """
        if self.placing is not None and (host or avoid or self._lost):
            there = set(self.placing.hosts())
            hosts = there & {host} if host else there - set(avoid)
            if not hosts:
                raise ValueError(f"no worker is left on host {host}" if host else "every host is full")
            return self.placing.submit_on(hosts - self._lost or hosts, call)
        try:
            return self._executor.submit(call)
        except BrokenExecutor:
            self._executor = _like(self._executor)
            self._replacements.append(self._executor)
            return self._executor.submit(call)

    def close(self) -> None:
        """Shut down what replaced broken executors."""
        for executor in self._replacements:
            executor.shutdown(wait=False, cancel_futures=True)


def _slots(executor: Executor) -> int:
    if isinstance(executor, PlacingExecutor):
        return max(1, executor.slots)
    if isinstance(executor, HereExecutor):
        return 1
    for name in ("_max_workers", "num_workers"):  # the standard library's, loky's; mpi4py's
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return os.cpu_count() or 1


def _like(broken: Executor) -> Executor:
    """Another pool of processes like one that broke when a worker died; as the standard library and loky make them.

    Raises:
        BrokenExecutor: there is no telling how to make one.
    """
    kind: Any = type(broken)
    state = vars(broken)
    keywords: dict[str, Any] = {"max_workers": state.get("_max_workers")}
    for keyword, attribute in (("mp_context", "_mp_context"), ("context", "_context")):
        if attribute in state:
            keywords[keyword] = state[attribute]
    if "_initializer" in state:
        keywords |= {"initializer": state["_initializer"], "initargs": state.get("_initargs", ())}
    try:
        made: Executor = kind(**keywords)
    except TypeError as error:
        problem = f"the executor broke, and {kind.__name__} cannot be made again"
        raise BrokenExecutor(problem) from error
    return made
