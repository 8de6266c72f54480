"""Results from several threads: they arrive in any order and are yielded in order, within a limit of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

from shuffle.client.deadline import NEVER, Deadline

Result = TypeVar("Result")


class AbandonedError(Exception):
    """The caller has stopped taking results."""


class Arrivals(Generic[Result]):
    """The results numbered 0 … ``count - 1``.

    Args:
        count: number of results.
        limit_bytes: memory of the results that are arriving, that wait, and of the one yielded last. The next result to
            be yielded has room in any case, so that no result waits for itself.
        deadline: until when a result may wait for room.
    """

    def __init__(self, count: int, limit_bytes: int, deadline: Deadline = NEVER) -> None:
        self._count = count
        self._limit_bytes = limit_bytes
        self._deadline = deadline
        self._changed = threading.Condition()
        self._arrived: dict[int, Result | Exception] = {}
        self._byte_counts: dict[int, int] = {}
        self._next = 0
        self._abandoned = False

    def make_room(self, number: int, byte_count: int) -> None:
        """Wait until a result may begin to arrive.

        Raises:
            AbandonedError: the caller has stopped taking results.
            TimeoutError: the deadline passed before there was room.
        """
        left = self._deadline.left()
        with self._changed:
            self._byte_counts.pop(number, None)  # it is fetched again
            has_room = self._changed.wait_for(
                lambda: (
                    self._abandoned
                    or number == self._next
                    or sum(self._byte_counts.values()) + byte_count <= self._limit_bytes
                ),
                None if left == float("inf") else max(left, 0),
            )
            if self._abandoned:
                raise AbandonedError
            if not has_room:
                raise TimeoutError("the deadline has passed")
            self._byte_counts[number] = byte_count

    def put(self, number: int, result: Result | Exception, byte_count: int | None = None) -> None:
        """Store a result, or the error in its place; ``byte_count`` replaces the size that ``make_room`` was told."""
        with self._changed:
            self._arrived[number] = result
            if byte_count is not None:
                self._byte_counts[number] = byte_count
            self._changed.notify_all()

    def abandon(self) -> None:
        """Raise AbandonedError in all threads that wait for room."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Result | Exception]:
        """Yield results, or the errors in their places, in order."""
        for number in range(self._count):
            with self._changed:
                self._next = number
                self._changed.notify_all()
                self._changed.wait_for(lambda number=number: number in self._arrived)  # type: ignore[misc]
                result = self._arrived.pop(number)
            yield result
            with self._changed:
                self._byte_counts.pop(number, None)
