"""Doing things ahead of whoever wants their results, in order, within a limit of bytes.

What is done, reading a file or fetching over the network, is the business of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from shuffle.machine.threads import Threads

Result = TypeVar("Result")


class Task(NamedTuple, Generic[Result]):
    """Something to do.

    Attributes:
        byte_count: what its result takes in memory.
        run: does it; called from some thread.
    """

    byte_count: int
    run: Callable[[], Result]


def in_order(tasks: Iterable[Task[Result]], limit_bytes: int, threads: int) -> Generator[Result, None, None]:
    """The results of tasks, in the order of the tasks, done ahead by a few threads.

    Args:
        tasks: taken one by one as there is room, so that they may be made lazily.
        limit_bytes: what all results together take that are in work, wait, or were asked for last. A single task that
            is larger is done alone.
        threads: how many are in work at once, 1 or more.

    Raises:
        Whatever a task raised, in its turn; later ones are then dropped.
    """
    remaining = iter(tasks)
    upcoming = next(remaining, None)
    waiting: deque[tuple[int, Future[Result]]] = deque()
    held_bytes = 0
    with Threads(threads, "shuffle-prefetch") as helpers:
        while upcoming is not None or waiting:
            while upcoming is not None and (not waiting or held_bytes + upcoming.byte_count <= limit_bytes):
                waiting.append((upcoming.byte_count, helpers.submit(upcoming.run)))
                held_bytes += upcoming.byte_count
                upcoming = next(remaining, None)
            byte_count, future = waiting.popleft()
            yield future.result()
            held_bytes -= byte_count
