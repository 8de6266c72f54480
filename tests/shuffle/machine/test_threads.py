"""Threads that the system may refuse: the work is done all the same."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle.client import PartitionClient
from shuffle.client.place import Place
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.machine.prefetch import Task, in_order
from shuffle.machine.threads import Threads
from shuffle.testing import write_spill
from tests.helpers.commands import command_line
from tests.helpers.input_files import INPUT_WRITERS


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


def run_with_threads(count: int, command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who gets so many threads, the first one included, and who may read what root may."""
    directory.chmod(0o777)
    script = f'ulimit -u {count}; exec "$0" {command}'
    user = [
        "--reuid",
        "65534",
        "--clear-groups",
        "--inh-caps",
        "+dac_read_search",
        "--ambient-caps",
        "+dac_read_search",
    ]
    return subprocess.run(
        ["setpriv", *user, "bash", "-c", script, *command_line("shuffle")],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that any user can write to, as tests have none."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.root
@pytest.mark.parametrize(
    "command",
    [
        "merge plain.spill.arrow -o out --threads 4",
        "merge plain.spill.arrow zstd.spill.arrow -o out --compact --threads 4",
        "verify plain.spill.arrow zstd.spill.arrow",
        "read zstd.spill.arrow -p 1 -o out.parquet",
        "diff plain.spill.arrow zstd.spill.arrow --any-order",
        "repair zstd.spill.arrow -o out",
    ],
)
def test_a_user_with_no_thread_left_can_do_without(open_directory: Path, command: str) -> None:
    batch = pa.record_batch({"key": range(100_000), "text": [f"text {number}" for number in range(100_000)]})
    for name, compression in [("plain", None), ("zstd", "zstd")]:
        path = open_directory / f"{name}.spill.arrow"
        write_spill({0: [batch], 1: [batch]}, path, schema=batch.schema, partition_count=2, compression=compression)
    completed = run_with_threads(1, command, open_directory)
    assert (completed.returncode, "Traceback" in completed.stderr) == (0, False), completed.stderr


@pytest.mark.root
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_inputs_that_arrow_has_too_few_threads_for_are_refused(open_directory: Path, suffix: str) -> None:
    rows = pa.table({"key": range(1000), "text": ["a"] * 1000})
    INPUT_WRITERS[suffix](rows, open_directory / f"rows{suffix}")
    completed = run_with_threads(4, f"partition rows{suffix} --by key --partitions 2 -o out", open_directory)
    assert completed.returncode == 2
    assert "threads, of which the system gives" in completed.stderr
