"""The files that a merge reads: found, opened, checked against each other, and kept open within a limit."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, TypeVar

from shuffle.option_kinds import several
from shuffle.report import SkippedSource
from spill_format.closing import Closing
from spill_format.errors import ChecksumError, CorruptError, MismatchError, SpillError, TruncatedError, naming
from spill_format.layout import PartitionLayout
from spill_format.range_checksums import RangeChecksums
from spill_format.spill_set import SPILL_PATTERN
from spill_format.storage.identity import FileIdentity
from spill_format.storage.local import open_regular

if TYPE_CHECKING:
    from spill_format.structure import FileStructure

Found = TypeVar("Found")

NO_FILE = FileIdentity(0, 0, 0, 0)
"""The identity of a source without bytes that has no file, as Spark leaves it."""

_SPARE_DESCRIPTORS = 32  # left to the rest of the process


@dataclass(frozen=True, slots=True)
class Source:
    """A source whose layout was read and checked.

    Attributes:
        path: its name, for opening and for errors.
        layout: the ranges of its partitions.
        identity: which file it was before its layout was read.
        structure: all that it says of itself, in an Arrow file.
        borrowed: an open descriptor of somebody else's, for a file without a name; None for a file with one.
        checksums: what was recorded of its ranges outside the layout.
        companions: files that belong to it and go before it does when it is deleted, in this order.
    """

    path: str
    layout: PartitionLayout
    identity: FileIdentity
    structure: FileStructure | None = None
    borrowed: int | None = None
    checksums: RangeChecksums | None = None
    companions: tuple[str, ...] = ()


class BadSourcesError(SpillError):
    """Several sources cannot be merged.

    Attributes:
        problems: the error of each, in the order of the sources.
    """

    def __init__(self, problems: Sequence[Exception]) -> None:
        self.problems: tuple[Exception, ...] = tuple(problems)
        listed = "".join(f"\n{problem}" for problem in problems)
        super().__init__(f"{len(problems)} sources cannot be merged:{listed}")


class SourceSearch:
    """Opens sources and collects what is wrong with them, so that one run tells of all.

    Args:
        target: what the merge makes; a directory that holds it does not stand for it.
    """

    def __init__(self, target: str | PathLike[str] | None = None) -> None:
        self._target = None if target is None else os.path.realpath(target)
        self.target_left_out: bool = False
        self._bad: list[SpillError | OSError] = []

    def is_target(self, path: str) -> bool:
        """Return whether a file in a source directory is the target of the merge, which is left out."""
        is_target = os.path.realpath(path) == self._target
        self.target_left_out |= is_target
        return is_target

    def open_all(self, found: Iterable[Found], open_one: Callable[[Found], Source]) -> list[Source]:
        """Open what was found, and leave out what cannot be opened until ``settle``."""
        sources = []
        for each in found:
            try:
                sources.append(open_one(each))
            except (SpillError, OSError) as error:
                self._bad.append(error)
        return sources

    def settle(self, *, skip_damaged: bool = False) -> tuple[SkippedSource, ...]:
        """Raise what is wrong with sources; with ``skip_damaged`` return the damaged ones instead."""
        damage = [error for error in self._bad if isinstance(error, (CorruptError, TruncatedError, ChecksumError))]
        raise_bad([error for error in self._bad if not (skip_damaged and error in damage)])
        return tuple(SkippedSource(os.fspath(error.path or ""), str(error)) for error in damage)


def raise_bad(problems: Sequence[Exception]) -> None:
    """Raise the problem of a single source as it is, those of several as one ``BadSourcesError``."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise BadSourcesError(problems)


def find_sources(paths: Iterable[str | PathLike[str]], search: SourceSearch | None = None) -> list[str]:
    """The files meant by ``paths``: files as given, directories as the spills in them, in natural order of their names.

    Raises:
        TypeError: one path was given instead of several; a string's characters are not meant.
        ValueError: a directory holds no spills, or a file is given besides its directory.
        OSError: a directory cannot be listed.
    """
    found: list[str] = []
    listed: dict[str, list[str]] = {}
    for path in list_of(paths):
        if not os.path.isdir(path):
            found.append(path)
            continue
        names = [name.removesuffix(SPILL_PATTERN) for name in os.listdir(path) if name.endswith(SPILL_PATTERN)]
        if not names:
            raise ValueError(f"no spills: looked for *{SPILL_PATTERN} in the directory {path}")
        files = [os.path.join(path, name + SPILL_PATTERN) for name in sorted(names, key=natural_order)]
        listed[path] = [file for file in files if search is None or not search.is_target(file)]
        found += listed[path]
    times = Counter(map(os.path.realpath, found)) if listed else Counter()
    for path, files in listed.items():
        if any(times[os.path.realpath(file)] > 1 for file in files):
            raise ValueError(f"the directory {path} holds a file that is also given by its name")
    return found


def list_of(paths: Iterable[str | PathLike[str]]) -> list[str]:
    """Several paths; TypeError for a single one, since a string's characters are not meant."""
    return [os.fspath(path) for path in several("sources", paths)]


def check_partition_counts(sources: Sequence[Source]) -> None:
    """Check that the sources have the same number of partitions.

    Raises:
        MismatchError: it names the source that differs, and the one it differs from; of several BadSourcesError.
    """
    first, expected = sources[0], sources[0].layout.partition_count
    raise_bad(
        [
            MismatchError(
                f"another number of partitions than {first.path}", path=source.path, expected=expected, actual=actual
            )
            for source in sources[1:]
            if (actual := source.layout.partition_count) != expected
        ]
    )


def check_unchanged(source: Source) -> None:
    """Check that the file of a source's name is still the one whose layout was read, or gone: it was copied by then.

    Raises:
        SpillError: it was replaced, or written to.
        OSError: nobody can tell; it names the file.
    """
    if source.borrowed is not None:
        return
    if (identity := identity_of(source.path)) not in {source.identity, NO_FILE}:
        raise _changed(source, identity)


def identity_of(path: str) -> FileIdentity:
    """Return the identity of the file that has a name, ``NO_FILE`` without one; OSError where nobody can tell."""
    try:
        return FileIdentity.of(os.stat(path))
    except FileNotFoundError:
        return NO_FILE


def _changed(source: Source, identity: FileIdentity) -> SpillError:
    return SpillError(
        "the source changed after its index was read",
        path=source.path,
        expected=str(source.identity),
        actual=str(identity),
        advice="merge again when nobody writes to it",
    )


class SourceDescriptors(Closing):
    """Descriptors of the sources, opened when they are first needed; at most ``limit`` at a time.

    Belongs to one thread: the descriptor that ``descriptor`` returned may be closed by the next call of it.
    """

    def __init__(self, sources: Sequence[Source], limit: int) -> None:
        self._sources = sources
        self._limit = max(limit, 1)
        self._open: OrderedDict[int, int] = OrderedDict()  # the least recently used first

    def path(self, source: int) -> str:
        """The name of source number ``source``."""
        return self._sources[source].path

    def descriptor(self, source: int) -> int:
        """An open descriptor of source number ``source``.

        Raises:
            SpillError: the file is not the one that was checked.
            OSError: it cannot be opened any more.
        """
        if (known := self._open.get(source)) is not None:
            if len(self._open) == self._limit:  # below the limit nothing is ever closed, and order means nothing
                self._open.move_to_end(source)
            return known
        wanted = self._sources[source]
        if wanted.borrowed is not None:
            return wanted.borrowed
        if len(self._open) >= self._limit:
            self._close_oldest()
        while source not in self._open:
            try:
                self._open[source] = open_regular(wanted.path)
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE} or not self._open:
                    raise
                self._limit = max(len(self._open) - 1, 1)  # the rest of the process needs more than was thought
                self._close_oldest()
        with naming(wanted.path):
            identity = FileIdentity.of(os.fstat(self._open[source]))
        if identity != wanted.identity:
            raise _changed(wanted, identity)
        return self._open[source]

    def descriptors(self, sources: Sequence[int]) -> list[int] | None:
        """Open descriptors of several sources; None where they are more than may be open at a time.

        Raises:
            SpillError, OSError: as by ``descriptor``.
        """
        if len(set(sources)) > self._limit:
            return None
        descriptors = [self.descriptor(source) for source in sources]
        are_open = all(self._sources[source].borrowed is not None or source in self._open for source in sources)
        return descriptors if are_open else None

    def close(self) -> None:
        """Close them all, but for borrowed ones."""
        while self._open:
            self._close_oldest()

    def _close_oldest(self) -> None:
        _, descriptor = self._open.popitem(last=False)
        with suppress(OSError):  # of a file that was only read nothing can be lost
            os.close(descriptor)


def descriptor_limit(threads: int) -> int:
    """How many sources each of ``threads`` may keep open, from what ``ulimit -n`` leaves to this process."""
    limit, in_use = 1024, 0
    with suppress(ImportError, OSError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        in_use = len(os.listdir("/proc/self/fd"))
    return max((limit - in_use - _SPARE_DESCRIPTORS) // threads, 1)


def natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts ``part-10`` behind ``part-9``: runs of digits by value and before text, the rest by character."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    key = [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts]
    return key, name  # the name itself decides between 1 and 01: a directory is listed in no order
