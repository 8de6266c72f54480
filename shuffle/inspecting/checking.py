"""The checking of one file, range by range, so that several threads can share it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from shuffle.inspecting.results import PROBLEMS, Failure, FileResult, FileVerification, Problem
from shuffle.merging.formats import MergeFormat
from shuffle.merging.sources import Source
from spill_format.errors import CorruptError
from spill_format.layout import Int64Array

Progress = Callable[[int], None]

_TASK_BYTES = 16 << 20  # what one thread checks at a time: much beside what it takes to ask it


class Check(ABC):
    """The checking of one file, which stays open until it is closed."""

    def tasks(self) -> Iterator[Callable[[], list[Problem]]]:
        """Open the file and cut the work into tasks, which may run in any thread and return what is wrong."""
        return iter(())

    @abstractmethod
    def verdict(self, findings: list[Problem]) -> FileResult:
        """Return the verdict that follows from what all tasks returned."""

    def company(self) -> Company | None:
        """Return the files that a merge would take together with this one, and how it compares them; None if nothing
        tells."""
        return None

    def close(self) -> None:  # noqa: B027 (a check need not keep anything open)
        """Close the file."""


class Company(NamedTuple):
    """A file among the files that a merge would take together.

    Attributes:
        group: equal for such files.
        format: which compares them.
        source: the file.
        is_listed: the file was found in a directory, whose spills a merge would take together.
    """

    group: tuple[object, ...]
    format: MergeFormat
    source: Source
    is_listed: bool = False


class RangesCheck(Check):
    """The check of a file whose ranges can be looked at one by one.

    Args:
        path: of the file.
        fast: structure only; no range is read.
    """

    def __init__(self, path: str, *, fast: bool) -> None:
        self._path = path
        self._fast = fast
        self._resources = ExitStack()
        self._broken: Problem | None = None

    @abstractmethod
    def open(self, resources: ExitStack) -> Int64Array:
        """Open the file, which ``resources`` will close, and return the offsets of its ranges, ``int64[P + 1]``."""

    @abstractmethod
    def check(self, partition: int) -> None:
        """Raise CorruptError where a range is not what was written."""

    @abstractmethod
    def outcome(self, damages: list[CorruptError]) -> FileVerification:
        """Return the verdict on a file whose structure is sound."""

    def outcome_without_structure(self, damage: CorruptError) -> FileResult:
        """The verdict on a file whose structure is damaged."""
        return Failure(self._path, damage)

    def tasks(self) -> Iterator[Callable[[], list[Problem]]]:
        """See ``Check``."""
        try:
            offsets = self.open(self._resources)
        except PROBLEMS as error:
            self._broken = error
            return
        for start, stop in [] if self._fast else pairwise(_cuts(offsets)):
            yield partial(self._findings_in, range(start, stop))

    def verdict(self, findings: list[Problem]) -> FileResult:
        """See ``Check``. What kept a range from being read leaves the file without a verdict."""
        if isinstance(self._broken, CorruptError):
            try:
                return self.outcome_without_structure(self._broken)
            except PROBLEMS as error:
                return Failure(self._path, error)
        damages = [error for error in findings if isinstance(error, CorruptError)]
        hindrances = [error for error in (self._broken, *findings) if error is not None and error not in damages]
        return Failure(self._path, hindrances[0]) if hindrances else self.outcome(damages)

    def close(self) -> None:
        """See ``Check``."""
        self._resources.close()

    def _findings_in(self, partitions: range) -> list[Problem]:
        """What is wrong with some partitions; what hinders reading ends the search."""
        found: list[Problem] = []
        for partition in partitions:
            try:
                self.check(partition)
            except CorruptError as error:
                found.append(error)
            except PROBLEMS as error:
                return [*found, error]
        return found


def _cuts(offsets: Int64Array) -> list[int]:
    """Ascending numbers of partitions, from 0 to P, about ``_TASK_BYTES`` apart."""
    steps = np.arange(offsets[0], offsets[-1], _TASK_BYTES)
    partition_count = len(offsets) - 1
    cuts = np.searchsorted(offsets, steps, side="right") - 1
    return [int(cut) for cut in np.unique(np.concatenate(([0], cuts, [partition_count])))]
