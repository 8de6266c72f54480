"""``shuffle.verify``: whether files are what was written; many files in parallel, and one file by several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from shuffle.inspecting.checking import Check, Progress
from shuffle.inspecting.kinds import Kind, Paths, find
from shuffle.inspecting.results import FileResult, Problem, State, worst
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.wording import counted

MAXIMUM_THREADS = 8
"""More gain nothing: few disks answer faster to more."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What checking files showed: ``files`` has the verdict on each, in order."""

    files: tuple[FileResult, ...]

    @property
    def state(self) -> State:
        """The worst of all."""
        return worst(file.state for file in self.files)

    @property
    def is_sound(self) -> bool:
        """Whether every file was read and is what was written."""
        return self.state == "ok"

    @property
    def bad(self) -> str:
        """How many files are not sound, in words."""
        states = [file.state for file in self.files]
        damaged, unreadable = states.count("damaged"), states.count("unreadable")
        of = f"of {counted(len(states), 'file')}"
        if not damaged:
            return f"{unreadable:,} {of} unreadable"
        return f"{damaged:,} {of} damaged" + (f", {unreadable:,} unreadable" if unreadable else "")

    def as_dict(self) -> dict[str, Any]:
        """The verification as JSON has it."""
        return {"files": [file.as_dict() for file in self.files]}

    def __str__(self) -> str:
        """The verification in one line."""
        if len(self.files) == 1:
            return str(self.files[0])
        return f"{counted(len(self.files), 'file')} ok" if self.is_sound else self.bad


def verify(
    paths: Paths, *, fast: bool = False, threads: int | None = None, progress: Progress = lambda _count: None
) -> Verification:
    """Check files: structure, the agreement of footer and index, each range's checksum, and that every record batch can
    be decoded and has the rows that the index says. Of Spark's files, the checksums that Spark recorded.

    Args:
        paths: a file, a directory, or several.
        fast: structure only; no range is read.
        threads: how many check partitions at a time; None for one a core, at most 8.
        progress: told how many further bytes were read, by any thread.

    Returns:
        The verdicts. A file that is damaged or cannot be read is no exception: it is in the result.

    Raises:
        ValueError: a directory holds no file.
        OSError: a directory cannot be listed.
    """
    return Verification(tuple(verify_each(find(paths), fast=fast, threads=threads, progress=progress)))


def verify_each(files: Iterable[Kind], *, fast: bool, threads: int | None, progress: Progress) -> Iterator[FileResult]:
    """The verdict on each file, in order, as soon as it is known. Arguments as for ``verify``."""
    workers = OrderedThreads(threads or min(os.cpu_count() or 1, MAXIMUM_THREADS))
    checks: list[Check] = []  # those begun and not finished
    findings: list[Problem] = []  # of the first of them

    def tasks() -> Iterator[_Task]:
        for file in files:
            check = file.check(fast=fast, progress=progress)
            checks.append(check)
            for run in check.tasks():
                yield _Task(run, None)
            yield _Task(list, check)

    try:
        for found, finished in workers.map(lambda task: (task.run(), task.finishes), tasks()):
            findings += found
            if finished is not None:
                checks.remove(finished)
                finished.close()
                yield finished.verdict(findings)
                findings = []
    finally:
        workers.close()
        for check in checks:
            check.close()


class _Task(NamedTuple):
    """Something to do for a check; the last task of each tells which one it finishes."""

    run: Callable[[], list[Problem]]
    finishes: Check | None
