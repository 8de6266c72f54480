"""Jobs for tests: what they read and reduce, and how tasks come to grief. Functions are found by name in workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from shuffle.jobs.descriptor import Output

PARTITION_COUNT = 7
MAP_COUNT = 12
ROWS = 500  # a map


class Once:
    """Does something in the first task that gets there, in whichever process; and never again."""

    def __init__(self, marker: Path, act: Callable[[], object], after: int = 1) -> None:
        self.marker = marker
        self._act = act
        self._after = after

    def __call__(self) -> None:
        for number in range(self._after):
            try:
                os.close(os.open(f"{self.marker}-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            if number == self._after - 1:
                self._act()
            return


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def raise_an_error() -> None:
    raise LookupError("once")


def nothing() -> None:
    pass


def die_before_answering(once: Once, least_maps: int, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a task whose worker may die after it has published a file of some maps, and before it can tell."""
    answer = call(*args, **kwargs)
    if isinstance(answer, Output) and len(answer.maps) >= least_maps:
        once()
    return answer


def read(disturb: Callable[[], object], number: int) -> Iterator[pa.RecordBatch]:
    """The rows of one input, in batches."""
    disturb()
    for start in range(0, ROWS, 100):
        keys = range(number * ROWS + start, number * ROWS + start + 100)
        yield pa.record_batch({"key": pa.array(keys, pa.int64()), "map": pa.array([number] * 100, pa.int32())})


def read_slowly(disturb: Callable[[], object], seconds: float, number: int) -> Iterator[pa.RecordBatch]:
    """The same; the disturbance is after the first batch."""
    rows = list(read(nothing, number))
    yield rows[0]
    disturb()
    time.sleep(seconds)
    yield from rows[1:]


def read_the_last_slowly(seconds: float, number: int) -> Iterator[pa.RecordBatch]:
    """The same; the last map takes time, in which others are merged."""
    yield from read_slowly(nothing, seconds if number == MAP_COUNT - 1 else 0, number)


def reduce(disturb: Callable[[], object], partition: int, rows: pa.Table) -> tuple[int, int, int]:
    """The number of rows, and the sum of their keys."""
    disturb()
    return partition, rows.num_rows, sum(rows["key"].to_pylist())


READ = partial(read, nothing)
REDUCE = partial(reduce, nothing)
