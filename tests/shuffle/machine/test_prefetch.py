"""Results in order, done ahead within a limit of bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle.machine.prefetch import Task, in_order


class Meter:
    """Tasks that record how many bytes have been begun and not yet been given back."""

    def __init__(self) -> None:
        self.held = self.most = 0
        self._lock = threading.Lock()

    def task(self, number: int, byte_count: int, delay: float = 0) -> Task[int]:
        def run() -> int:
            with self._lock:
                self.held += byte_count
                self.most = max(self.most, self.held)
            time.sleep(delay)
            return number

        return Task(byte_count, run)

    def give_back(self, byte_count: int) -> None:
        with self._lock:
            self.held -= byte_count


@settings(max_examples=30)
@given(st.lists(st.integers(0, 100), max_size=25), st.integers(1, 150), st.integers(1, 4))
def test_results_come_in_order_and_within_the_limit(sizes: list[int], limit: int, threads: int) -> None:
    meter = Meter()
    results = []
    tasks = [meter.task(number, size, 0.0001 * (number % 3)) for number, size in enumerate(sizes)]
    for number in in_order(tasks, limit, threads):
        results.append(number)
        meter.give_back(sizes[number])
    assert results == list(range(len(sizes)))
    # What was given out last counts until the next is asked for, so a single large one may follow a small one.
    assert meter.most <= max(limit, max(sizes, default=0))


def test_several_are_done_at_once() -> None:
    barrier = threading.Barrier(3, timeout=20)
    assert len(list(in_order([Task(1, barrier.wait)] * 3, 10, 3))) == 3


def test_tasks_are_made_as_there_is_room() -> None:
    made = []

    def tasks() -> Iterator[Task[int]]:
        for number in range(10):
            made.append(number)
            yield Task(1, lambda: 0)

    results = in_order(tasks(), 3, 2)
    next(results)
    assert len(made) <= 4
    results.close()


def test_an_error_comes_in_its_turn() -> None:
    def fail() -> int:
        raise OSError("task 1")

    results = in_order([Task(1, lambda: 0), Task(1, fail), Task(1, lambda: 2)], 10, 2)
    assert next(results) == 0
    with pytest.raises(OSError, match="task 1"):
        next(results)
