"""``shuffle.verify``: whether files are what was written; many files in parallel, and one file by several threads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from shuffle.inspecting.checking import Check, Company, Progress
from shuffle.inspecting.kinds import Kind, Paths, find
from shuffle.inspecting.results import FileResult, FileVerification, Problem, State, worst
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.merging.sources import Source, check_partition_counts
from shuffle.wording import counted
from spill_format.errors import MismatchError
from spill_format.spill_set import SpillSet, find_missing

MAXIMUM_THREADS = 8
"""More gain nothing: few disks answer faster to more."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What checking files showed: ``files`` has the verdict on each, in order."""

    files: tuple[FileResult, ...]

    @property
    def state(self) -> State:
        """The worst state of all files."""
        return worst(file.state for file in self.files)

    @property
    def is_sound(self) -> bool:
        """Whether every file was read and is what was written."""
        return self.state == "ok"

    @property
    def bad(self) -> str:
        """How many files are not sound, in words."""
        states = Counter(file.state for file in self.files if file.state != "ok")
        first, *others = (f"{count:,} {state}" for state, count in sorted(states.items()))
        number, state = first.split()
        return ", ".join([f"{number} of {counted(len(self.files), 'file')} {state}", *others])

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
        ValueError: there are no paths, or a directory holds no file.
        OSError: a directory cannot be listed.
    """
    return Verification(tuple(verify_each(find(paths), fast=fast, threads=threads, progress=progress)))


def verify_each(files: Iterable[Kind], *, fast: bool, threads: int | None, progress: Progress) -> Iterator[FileResult]:
    """Yield the verdict on each file, in order, as soon as it is known: on a spill that a directory holds, when its set
    is whole. Arguments as for ``verify``.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise ValueError(f"threads must be a whole number from 1 on, or None, not {threads!r}")
    verdicts = _checked(files, fast=fast, threads=threads, progress=progress)
    try:
        yield from _with_sets(verdicts)
    finally:
        verdicts.close()


def _checked(
    files: Iterable[Kind], *, fast: bool, threads: int | None, progress: Progress
) -> Generator[tuple[FileResult, Company | None]]:
    """Yield the verdict on each file, and what it was compared with."""
    workers = OrderedThreads(threads or min(os.cpu_count() or 1, MAXIMUM_THREADS))
    checks: list[Check] = []  # those begun and not finished
    findings: list[Problem] = []  # of the first of them
    firsts: dict[tuple[object, ...], Source] = {}  # of the files that a merge would take together

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
                company = finished.company()
                yield _fitted(finished.verdict(findings), company, firsts), company
                findings = []
    finally:
        workers.close()
        for check in checks:
            check.close()


def _fitted(verdict: FileResult, company: Company | None, firsts: dict[tuple[object, ...], Source]) -> FileResult:
    """The verdict, with what a merge would hold against a sound file."""
    if company is None or not isinstance(verdict, FileVerification) or verdict.state != "ok":
        return verdict
    sources = [firsts.setdefault(company.group, company.source), company.source]
    try:
        check_partition_counts(sources)
        company.format.check_agreement(sources, missing_spills=None)
    except MismatchError as error:
        return replace(verdict, misfit=error)
    return verdict


def _with_sets(found: Iterable[tuple[FileResult, Company | None]]) -> Iterator[FileResult]:
    """Yield the verdicts, in order, and hold them back while a set of spills is not whole: it may become so."""
    held: list[FileResult] = []
    members: list[tuple[str, SpillSet]] = []
    numbers: dict[tuple[bytes, int], set[int]] = {}  # of each set, the numbers of the spills found
    begun: set[tuple[bytes, int]] = set()  # sets that are not whole
    for verdict, company in found:
        held.append(verdict)
        structure = company.source.structure if company is not None and company.is_listed else None
        if structure is not None and structure.spill_set is not None:
            members.append((structure.path, structure.spill_set))
            identity, number, total = structure.spill_set
            there = numbers.setdefault((identity, total), set())
            begun.add((identity, total))
            there.add(number)
            if len(there) == total:
                begun.remove((identity, total))
        if not begun:
            yield from held
            held.clear()
    misfits = {error.path: error for error in (each.error() for each in find_missing(members))}
    for verdict in held:
        error = misfits.get(verdict.path)
        is_misfit = error is not None and verdict.state == "ok"
        yield replace(verdict, misfit=error) if is_misfit and isinstance(verdict, FileVerification) else verdict


class _Task(NamedTuple):
    """Something to do for a check; the last task of each tells which one it finishes."""

    run: Callable[[], list[Problem]]
    finishes: Check | None
