"""How far a job is: one bar a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Never

from tqdm import tqdm

from shuffle.jobs.report import StageName

Progress = Callable[[StageName, int, int], None]
"""Is given a stage, how many of its tasks are done, and how many there are."""


@contextmanager
def stage_bars(wanted: bool | Progress) -> Iterator[Progress]:
    """What a job tells of its progress: the caller's function, bars on stderr, or nothing."""
    if callable(wanted):
        yield wanted
        return
    if not wanted:
        yield lambda _stage, _done, _total: None
        return
    with ExitStack() as stack:
        bars: dict[StageName, tqdm[Never]] = {}

        def show(stage: StageName, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = tqdm(desc=stage, unit=" tasks")
                stack.callback(bars[stage].close)
            bars[stage].total = total
            bars[stage].update(done - bars[stage].n)

        yield show
