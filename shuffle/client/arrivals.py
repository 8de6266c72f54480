"""Results that arrive from several threads, in any order, are given out in theirs, within a limit of bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

from shuffle.client.deadline import NEVER, Deadline

Result = TypeVar("Result")


class AbandonedError(Exception):
    """Nobody wants the results any more."""


class Arrivals(Generic[Result]):
    """The results numbered 0 … ``count - 1``.

    Args:
        count: how many will be asked for.
        limit_bytes: what results take that are about to arrive, wait, or were given out last. The next one to be given
            out has room in any case, so that nothing ever waits for itself.
        deadline: until when one may wait for room.
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
            AbandonedError: nobody wants it.
            TimeoutError: the deadline passed before there was room.
        """
        left = self._deadline.left()
        with self._changed:
            self._byte_counts.pop(number, None)  # it begins anew
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
        """A result is there, or the reason why it will never be; it may take another number of bytes now."""
        with self._changed:
            self._arrived[number] = result
            if byte_count is not None:
                self._byte_counts[number] = byte_count
            self._changed.notify_all()

    def abandon(self) -> None:
        """Let all who wait for room give up."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Result | Exception]:
        """The results in order, or what was put in place of one."""
        for number in range(self._count):
            with self._changed:
                self._next = number
                self._changed.notify_all()
                self._changed.wait_for(lambda number=number: number in self._arrived)  # type: ignore[misc]
                result = self._arrived.pop(number)
            yield result
            with self._changed:
                self._byte_counts.pop(number, None)
