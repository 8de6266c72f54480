"""A few threads that compute for one, whose answers come in the order of the questions.

numpy and Arrow let go of the interpreter's lock while they sort and copy, so threads are enough. Order, and how many
answers may wait, are decided here; what is computed is the business of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from shuffle.machine.threads import Threads

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class OrderedThreads:
    """``threads`` helpers; with one thread everything is computed at once, by the caller itself."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._helpers = Threads(threads, "shuffle-map") if threads > 1 else None

    def submit(self, compute: Callable[[_Question], _Answer], question: _Question) -> Future[_Answer]:
        """Begin to compute one answer; with one thread it is complete, or has raised, when this returns."""
        if self._helpers is not None:
            return self._helpers.submit(compute, question)
        answer: Future[_Answer] = Future()
        answer.set_result(compute(question))
        return answer

    def map(
        self, compute: Callable[[_Question], _Answer], questions: Iterable[_Question], most: int | None = None
    ) -> Iterator[_Answer]:
        """All answers, in order. No more than ``most`` are computed or wait at any time: unless told, two a thread, so
        that none is idle while the caller is busy with an answer."""
        most = 2 * self.threads if most is None else most
        waiting: deque[Future[_Answer]] = deque()
        try:
            for question in questions:
                waiting.append(self.submit(compute, question))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for answer in waiting:
                answer.cancel()

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        if self._helpers is not None:
            self._helpers.close()
