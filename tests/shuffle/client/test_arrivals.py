"""Results of several threads, in order and within a limit."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shuffle.client.arrivals import AbandonedError, Arrivals
from shuffle.client.deadline import Deadline


@pytest.mark.parametrize("limit", [1, 30, 1000])
def test_results_come_in_order_and_within_the_limit(limit: int) -> None:
    arrivals: Arrivals[int] = Arrivals(60, limit)
    lock = threading.Lock()
    held: dict[int, int] = {}
    most = 0

    def arrive(number: int) -> None:
        nonlocal most
        size = 5 + number % 7
        arrivals.make_room(number, size)
        with lock:
            held[number] = size
            most = max(most, sum(held.values()))
        time.sleep(0.001 * (number % 3))
        arrivals.put(number, number)

    given = []
    with ThreadPoolExecutor(4) as pool:
        for number in range(60):
            pool.submit(arrive, number)
        for given_out in arrivals:
            assert isinstance(given_out, int)
            given.append(given_out)
            with lock:
                del held[given_out]
    assert given == list(range(60))
    assert most <= max(limit, 12) + 11  # what was given out last is ours, not the meter's


def test_an_error_is_given_out_in_its_turn() -> None:
    arrivals: Arrivals[int] = Arrivals(2, 10)
    error = OSError("the second")
    arrivals.put(1, error)
    arrivals.put(0, 7)
    assert list(arrivals) == [7, error]


def test_room_is_waited_for_until_the_deadline() -> None:
    arrivals: Arrivals[int] = Arrivals(3, 10, Deadline(0.05))
    arrivals.make_room(0, 10)
    with pytest.raises(TimeoutError, match="the deadline has passed"):
        arrivals.make_room(1, 1)


def test_who_waits_for_room_is_let_go() -> None:
    arrivals: Arrivals[int] = Arrivals(3, 10)
    arrivals.make_room(0, 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(arrivals.make_room, 2, 1)
        arrivals.abandon()
        with pytest.raises(AbandonedError):
            waiting.result()
