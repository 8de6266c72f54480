"""Which partitions one reduce task is given: small neighbours together, a large one in slices. Pure.

Also here: which of these tasks wait, run and are done.
"""

# PURE

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shuffle.jobs.descriptor import Sizes

_TASKS_A_SLOT = 4
"""So that the last tasks of a stage end at about the same time."""


class Unit(NamedTuple):
    """Partitions ``start`` … ``stop - 1``, or slice ``part`` of ``parts`` of a single one."""

    start: int
    stop: int
    part: int = 0
    parts: int = 1


def plan_units(sizes: Sizes, slots: int, unit_bytes: int, slice_bytes: int | None) -> list[Unit]:
    """Cut partitions into units, in their order.

    Args:
        sizes: bytes of each partition.
        slots: how many tasks run at once.
        unit_bytes: a unit of several partitions has at most so many bytes, and at most an even share of all.
        slice_bytes: a partition of more bytes is cut into slices of about so many; None: never.
    """
    partition_count = len(sizes)
    most_bytes = max(1, min(unit_bytes, -(-int(sizes.sum()) // (slots * _TASKS_A_SLOT))))
    most_partitions = max(1, -(-partition_count // (slots * _TASKS_A_SLOT)))
    units: list[Unit] = []
    start, held = 0, 0
    for partition, size in enumerate(sizes.tolist()):
        parts = 1 if slice_bytes is None else -(-size // slice_bytes)
        is_full = held + size > most_bytes and size > 0
        if partition > start and (is_full or parts > 1 or partition - start >= most_partitions):
            units.append(Unit(start, partition))
            start, held = partition, 0
        held += size
        if parts > 1:
            units += [Unit(partition, partition + 1, part, parts) for part in range(parts)]
            start, held = partition + 1, 0
    if start < partition_count:
        units.append(Unit(start, partition_count))
    return units


def skewed(sizes: Sizes, factor: float = 8) -> list[int]:
    """Partitions of more than ``factor`` times the mean size, the largest first."""
    limit = factor * float(sizes.mean()) if len(sizes) else 0.0
    large = np.flatnonzero(sizes > max(limit, _NEVER_SKEWED_BYTES))
    order = np.argsort(-sizes[large], kind="stable")
    return [int(number) for number in large[order]]


_NEVER_SKEWED_BYTES = 1 << 20


WAITING, RUNNING, DONE = range(3)
_STATES = ("waiting", "running", "done")


class Units:
    """Where the reduce tasks of a job stand; each is known by its place among the units.

    Attributes:
        tries: how often each was started.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units
        self._states = np.zeros(len(units), np.uint8)
        self.tries: npt.NDArray[np.uint8] = np.zeros(len(units), np.uint8)
        self._waiting = list(range(len(units)))  # a heap

    def __str__(self) -> str:
        return counted(self._states)

    def __getitem__(self, number: int) -> Unit:
        return self._units[number]

    @property
    def have_begun(self) -> bool:
        """Whether any was started."""
        return bool((self._states != WAITING).any())

    @property
    def are_done(self) -> bool:
        """Whether all are."""
        return bool((self._states == DONE).all())

    def is_done(self, number: int) -> bool:
        """Whether one is."""
        return bool(self._states[number] == DONE)

    def start_next(self) -> int | None:
        """Start the first one that waits; None if none does."""
        while self._waiting:
            number = heapq.heappop(self._waiting)
            if not self.is_done(number):
                self._states[number] = RUNNING
                self.tries[number] += 1
                return number
        return None

    def finish(self, number: int) -> None:
        """One is done."""
        self._states[number] = DONE

    def wait_again(self, number: int) -> None:
        """One is not done, and nobody runs it any more."""
        self._states[number] = WAITING
        self.queue(number)

    def queue(self, number: int) -> None:
        """One is to be started, once more perhaps."""
        if number not in self._waiting:  # rare: only what failed or stalled is queued again
            heapq.heappush(self._waiting, number)

    def redo(self) -> None:
        """What is done was done in vain."""
        for number in np.flatnonzero(self._states == DONE).tolist():
            self.wait_again(number)


def counted(states: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> str:
    """How many of some tasks wait, run and are done."""
    counts = np.bincount(states, minlength=3)
    return ", ".join(f"{count} {name}" for count, name in zip(counts.tolist(), _STATES, strict=True))
