"""Whether files are what was written: structure, checksums, and every record batch decodable; in parallel.

Nothing here prints. File contents are read, never mapped: a disk that fails under a memory map kills the process, here
it is an error that names file and place. Without record batches (``fast``) nothing needs pyarrow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shuffle.inspecting.inspection import is_damage, opened
from shuffle.machine.ordered_threads import OrderedThreads
from spill_format.errors import SpillError
from spill_format.layout import Int64Array
from spill_format.structure import FileStructure

if TYPE_CHECKING:
    from shuffle.inspecting.range_check import RangeChecker

Progress = Callable[[int], None]
Unverifiable = SpillError | OSError
"""Why a file could not be judged: another kind of file, a newer release's, or one that cannot be read."""

_TASK_BYTES = 16 << 20  # what one thread checks at a time: much beside what it takes to ask it


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Verification:
    """What checking a file showed.

    Attributes:
        path: as it was given.
        byte_count: size of the file.
        partition_count, row_count: of the file, or None where its structure is damaged and nothing else tells.
        damaged_partitions: ``int64[D]``, ascending: those whose bytes are not all the ones that were written; of a file
            whose structure is damaged, those that lost rows or may have.
        first_damage: the error of the structure, or else of the first of them; None for a sound file.
        structure_is_sound: header, index and footer are.
    """

    path: str
    byte_count: int
    partition_count: int | None
    row_count: int | None
    damaged_partitions: Int64Array
    first_damage: SpillError | None
    structure_is_sound: bool

    @property
    def sound_partitions(self) -> Int64Array:
        """``int64[S]``, ascending: those that are known to be whole."""
        return np.setdiff1d(np.arange(self.partition_count or 0), self.damaged_partitions)

    def as_dict(self) -> dict[str, Any]:
        """The verification as JSON has it."""
        return {
            "path": self.path,
            "partition_count": self.partition_count,
            "row_count": self.row_count,
            "byte_count": self.byte_count,
            "structure_is_sound": self.structure_is_sound,
            "damaged_partitions": self.damaged_partitions.tolist(),
        }


def verify_file(
    path: str | PathLike[str], *, fast: bool = False, threads: int = 1, progress: Progress | None = None
) -> Verification:
    """Check one file; see ``verify_files``.

    Raises:
        SpillError: another kind of file, one that was not written partitioned, or a newer release's.
        OSError: it cannot be read.
    """
    (verdict,) = verify_files([path], fast=fast, threads=threads, progress=progress)
    if not isinstance(verdict, Verification):
        raise verdict
    return verdict


def verify_files(
    paths: Iterable[str | PathLike[str]], *, fast: bool = False, threads: int = 1, progress: Progress | None = None
) -> Iterator[Verification | Unverifiable]:
    """Check files: structure, the agreement of footer and index, each range's checksum, and that every record batch can
    be decoded and has the rows that the index says.

    Args:
        paths: the files.
        fast: structure only; no range is read.
        threads: so many check partitions at a time, of several files too.
        progress: told how many further bytes were read, from any of them.

    Yields:
        For each file, in order, what was found, or why it could not be judged.
    """
    workers = OrderedThreads(threads)
    checks: list[_Check] = []  # those begun and not finished

    def tasks() -> Iterator[_Task]:
        for path in paths:
            checks.append(_Check(os.fsdecode(path), fast, progress or _silent))
            yield from checks[-1].tasks()

    try:
        for task, findings in workers.map(lambda task: (task, task.run()), tasks()):
            task.check.findings += findings
            if task.is_last:
                checks.remove(task.check)
                task.check.close()
                yield task.check.verdict()
    finally:
        workers.close()
        for check in checks:
            check.close()


class _Task(NamedTuple):
    """Partitions ``first`` … ``last - 1`` of one file."""

    check: _Check
    first: int
    last: int
    is_last: bool

    def run(self) -> list[Unverifiable]:
        """What is wrong with them; each damaged partition has one error."""
        return self.check.findings_in(self.first, self.last)


class _Check:
    """The checking of one file, which stays open until it is closed."""

    def __init__(self, path: str, fast: bool, progress: Progress) -> None:
        self.findings: list[Unverifiable] = []
        self._path = path
        self._fast = fast
        self._progress = progress
        self._structure: FileStructure | None = None
        self._checker: RangeChecker | None = None
        self._resources = ExitStack()

    def tasks(self) -> Iterator[_Task]:
        """Open the file and cut its partitions into tasks, of which there is at least one."""
        cuts = [0, 0]
        try:
            descriptor, self._structure = self._resources.enter_context(opened(self._path))
            if not self._fast:
                from shuffle.inspecting.range_check import RangeChecker

                self._checker = RangeChecker(descriptor, self._structure, self._progress)
                cuts = _cuts(self._structure.index.layout.offsets)
        except (SpillError, OSError) as error:
            self._structure = None
            self.findings.append(error)
        for first, last in pairwise(cuts):
            yield _Task(self, first, last, is_last=last == cuts[-1])

    def findings_in(self, first: int, last: int) -> list[Unverifiable]:
        """What is wrong with partitions ``first`` … ``last - 1``; an error of reading ends the search."""
        found: list[Unverifiable] = []
        for partition in range(first, last):
            assert self._checker is not None  # without one there are no partitions to check
            try:
                self._checker.check(partition)
            except SpillError as error:
                found.append(error)
            except OSError as error:
                return [*found, error]
        return found

    def verdict(self) -> Verification | Unverifiable:
        """What all tasks found."""
        for error in self.findings:
            if isinstance(error, OSError) or not is_damage(error):
                return error
        if self._structure is None:
            (damage,) = self.findings
            assert isinstance(damage, SpillError)
            return _of_damaged_structure(self._path, damage, fast=self._fast)
        layout = self._structure.index.layout
        damages = [error for error in self.findings if isinstance(error, SpillError)]
        return Verification(
            path=self._path,
            byte_count=self._structure.byte_count,
            partition_count=layout.partition_count,
            row_count=layout.row_count,
            damaged_partitions=np.array([error.partition for error in damages], dtype=np.int64),
            first_damage=damages[0] if damages else None,
            structure_is_sound=True,
        )

    def close(self) -> None:
        """Close the file."""
        self._resources.close()


def _of_damaged_structure(path: str, damage: SpillError, *, fast: bool) -> Verification:
    """What is left of a file that cannot be opened, as repairing it would find."""
    partition_count, lossy = None, np.empty(0, dtype=np.int64)
    if not fast:
        from shuffle.inspecting.losses import lossy_partitions
        from shuffle.inspecting.repair import salvage

        with suppress(SpillError):  # nothing at all is left
            found = salvage(path)
            partition_count, lossy = found.partition_count, lossy_partitions(found.losses)
    return Verification(
        path=path,
        byte_count=os.path.getsize(path),
        partition_count=partition_count,
        row_count=None,
        damaged_partitions=lossy,
        first_damage=damage,
        structure_is_sound=False,
    )


def _cuts(offsets: Int64Array) -> list[int]:
    """Ascending numbers of partitions, from 0 to P, about ``_TASK_BYTES`` apart."""
    steps = np.arange(offsets[0], offsets[-1], _TASK_BYTES)
    partition_count = len(offsets) - 1
    cuts = np.searchsorted(offsets, steps, side="right") - 1
    return [int(cut) for cut in np.unique(np.concatenate(([0], cuts, [partition_count])))]


def _silent(_count: int) -> None:
    """Progress that nobody wants to see."""
