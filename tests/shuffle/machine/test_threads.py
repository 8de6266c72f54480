"""Threads that the system may refuse: the work is done all the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shuffle.client import PartitionClient
from shuffle.client.place import Place
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.machine.prefetch import Task, in_order
from shuffle.machine.threads import Threads
from tests.helpers.spills import random_spills


@pytest.fixture(params=[0, 1, 2])
def granted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many threads can be started: fewer than are asked for."""
    begin, begun = threading.Thread.start, list[threading.Thread]()

    def start(thread: threading.Thread) -> None:
        if len(begun) >= request.param:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    return int(request.param)


def test_all_work_is_done_by_the_threads_there_are(granted: int) -> None:
    with Threads(4, "test") as threads:
        futures = [threads.submit(pow, number, 2) for number in range(20)]
        assert [future.result() for future in futures] == [number * number for number in range(20)]


def test_an_error_is_the_asker_s(granted: int) -> None:
    with Threads(4, "test") as threads:
        futures = [threads.submit(divmod, 1, number) for number in (0, 1)]
        with pytest.raises(ZeroDivisionError):
            futures[0].result()
        assert futures[1].result() == (1, 0)


def test_starting_tells_whether_there_is_a_thread(granted: int) -> None:
    with Threads(4, "test") as threads:
        assert (threads.start(pow, 2, 2) is None) == (granted == 0)


def squares_in_order() -> Iterator[int]:
    return in_order((Task(1, lambda number=number: number * number) for number in range(20)), 5, 3)  # type: ignore[misc]


def squares_of_ordered_threads() -> Iterator[int]:
    threads = OrderedThreads(3)
    yield from threads.map(lambda number: number * number, range(20))
    threads.close()


@pytest.mark.parametrize("squares", [squares_in_order, squares_of_ordered_threads])
def test_order_is_kept(granted: int, squares: Callable[[], Iterator[int]]) -> None:
    assert list(squares()) == [number * number for number in range(20)]


def test_fetching_many_places_needs_a_thread(granted: int) -> None:
    if not granted:
        with PartitionClient() as client, pytest.raises(OSError, match="not a single thread can be started"):
            list(client.read_many([Place.of("http://127.0.0.1:9/x", 0)]))


MERGE_WITHOUT_THREADS = """
import os, resource, sys
from shuffle import merge
from shuffle.merging import compaction
os.setgroups([]); os.setgid(65534); os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
directory = sys.argv[1]
merge([directory], directory + "/plain.arrow", threads=4)
merge([directory], directory + "/compacted.arrow", compact=True, threads=4)
"""


@pytest.mark.root
def test_a_user_with_no_thread_left_can_merge() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        random_spills(directory, [200_000, 300_000], [100_000, 100_000])
        subprocess.run([sys.executable, "-c", MERGE_WITHOUT_THREADS, name], check=True)
        assert (directory / "plain.arrow").stat().st_size > 8 << 20
        assert (directory / "compacted.arrow").exists()
