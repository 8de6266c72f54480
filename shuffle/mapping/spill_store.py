"""Where the spills of one map task lie: directories taken in turn, names if they are to be kept, and their removal.

No spill has a name while the task runs. Spills that are to be kept get their names together, at the end, and each says
how many there are: a merge refuses some of them, which a kill between two names leaves. What is in a spill, and when
there is to be one, is decided by ``map_writer.py``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from shuffle.machine.free_memory import give_back_memory
from shuffle.options import MapOptions
from shuffle.report import MergeReport
from shuffle.warning import warn
from spill_format.errors import TargetExistsError, naming
from spill_format.layout import PartitionLayout
from spill_format.spill_set import SPILL_PATTERN, SpillSet
from spill_format.storage.publication import PendingFile, open_pending
from spill_format.writer import write_membership

# Each holds a descriptor, whose usual limit is 1,024 for the whole process, which is not a library's to raise. A name
# instead would need the lock of an open file, too, or nobody could tell it from what a dead process left.
_MAXIMUM_SPILLS = 128

_RANGE_BYTES = 200  # what reading, planning and merging takes for a partition of a spill, measured with 16 spills
_FEWEST_SPILLS = 8  # worth joining


def spill_directories(target: Path, options: MapOptions) -> list[Path]:
    """Where the spills of ``target`` lie."""
    return [Path(place) for place in options.spill_directories] or [target.absolute().parent]


def kept_spills(target: Path, directories: Sequence[Path]) -> list[Path]:
    """The spills of ``target`` that lie in these directories, by their names."""
    pattern = re.compile(rf"{re.escape(_stem(target))}-\d{{5,}}{re.escape(SPILL_PATTERN)}")
    return [path for directory in directories for path in sorted(directory.iterdir()) if pattern.fullmatch(path.name)]


class Written(NamedTuple):
    """What was written to a file: bytes of the whole file, and where the partitions are."""

    byte_count: int
    layout: PartitionLayout


class _Spill(NamedTuple):
    """A spill, and the name that it will have if it is to be kept."""

    name: Path
    file: PendingFile


def _stem(target: Path) -> str:
    return target.name.removesuffix(".arrow")


class SpillStore:
    """The spills of the map output ``target``, in the order in which they were written.

    When merging them would take half of the task's memory, or too many descriptors, they are joined into one.

    Raises:
        TargetExistsError: spills are to be kept, earlier ones are there, and ``overwrite`` is off.
        OSError: no spill directory can be written.
    """

    def __init__(self, target: Path, options: MapOptions, partition_count: int) -> None:
        self.count: int = 0
        """How many spills were written; joining them does not lessen it."""
        self.byte_count: int = 0
        """Their sizes together."""
        self.seconds_joining: float = 0.0
        """What it took to merge spills before the end."""
        self.names: list[Path] = []
        """Of spills that are kept, once they are published."""
        self._target = target
        self._options = options
        self._are_kept = options.keep_spills or options.spills_only
        self._directories = spill_directories(target, options)
        self._spills: list[_Spill] = []
        self._linked: list[tuple[Path, os.stat_result]] = []  # names that are taken, or about to be, and by which file
        self._last_layout: PartitionLayout | None = None
        range_count = options.memory_bytes // 2 // _RANGE_BYTES
        self._most_spills = min(max(range_count // partition_count, _FEWEST_SPILLS), _MAXIMUM_SPILLS)
        for _ in range(len(self._directories)):
            self._in_some_directory(self._try)

    def add(self, write: Callable[[PendingFile], Written]) -> None:
        """Write one spill more. ``write`` fills a file; it is called again, for another directory, where that failed.

        Raises:
            OSError: no directory is left that takes it.
        """
        self._in_some_directory(lambda directory: self._add(directory, write))
        self.count += 1

    @property
    def are_many(self) -> bool:
        """Whether merging the spills would soon take half of the task's memory, or too many descriptors."""
        return len(self._spills) >= self._most_spills

    def join(self) -> None:
        """Merge the spills so far into one.

        Raises:
            SpillError, OSError: as merging does; no directory is left that takes it.
        """

        def join(directory: Path) -> None:
            name = self._path(directory, 0)
            joined = self._open(name, directory)
            try:
                report, _ = self.merge_into(joined)
            except BaseException:
                joined.discard()
                raise
            self.seconds_joining += report.seconds
            self.close()
            self._spills = [_Spill(name, joined)]
            give_back_memory()

        self._in_some_directory(join)

    def publish_only_one(self) -> PartitionLayout | None:
        """Give the only spill the target's name, without copying, and return its layout.

        None where there are more spills, where the spill is to be kept, or where it lies on another file system.

        Raises:
            SpillError, OSError: as ``verify_written`` does, where that is asked for, and publishing.
        """
        if self._are_kept or len(self._spills) != 1:
            return None
        ((_, spill),) = self._spills
        if self._options.merge.verify:
            assert self._last_layout is not None  # of this spill
            from shuffle.merging.verification import verify_written

            verify_written(spill, self._last_layout)
        try:
            spill.publish()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return None
        return self._last_layout

    def merge_into(self, output: PendingFile) -> tuple[MergeReport, PartitionLayout]:
        """Write the merge of all spills into ``output``."""
        # What the rows of the last spill took is free, but still the process's; planning needs memory of its own.
        give_back_memory()
        # Here, since to import the engine takes longer than a small map task, which has nothing to merge.
        from shuffle.merging.formats.arrow import ARROW, borrow_source
        from shuffle.merging.merge import plan_sources
        from shuffle.merging.target_writer import write_merged

        sources = [
            borrow_source(spill.file.descriptor, f"spill {number} of {self._target}")
            for number, spill in enumerate(self._spills)
        ]
        prepared = plan_sources(sources, ARROW)
        return write_merged(prepared, output, self._options.merge), prepared.trailer.layout

    def publish_kept(self) -> None:
        """Give all spills their names, one after the other, each with its membership in the set of them.

        Raises:
            TargetExistsError: a name was taken meanwhile.
            SpillError, OSError: as reading and publishing a spill do. ``remove_kept`` removes the names so far.
        """
        identity = os.urandom(16)
        for number, (name, file) in enumerate(self._spills):
            with naming(name):
                write_membership(file, SpillSet(identity, number, len(self._spills)))
        for name, file in self._spills:
            with naming(name):
                # Noted before it exists, so that no interrupt in between makes remove_kept forget it.
                self._linked.append((file.path, os.fstat(file.descriptor)))
            try:
                file.publish()
            except TargetExistsError as error:
                raise _earlier_spill(name) from error
        self.names = [spill.name for spill in self._spills]

    def remove_kept(self) -> None:
        """Remove the names that ``publish_kept`` gave, but no file of somebody else."""
        for path, status in self._linked:
            try:
                if os.path.samestat(os.lstat(path), status):
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                warn(f"{path}: a spill of a failed map task could not be removed: {error.strerror}")

    def close(self) -> None:
        """Let go of the spills that have no names: they vanish."""
        for spill in self._spills:
            spill.file.discard()

    def _in_some_directory(self, act: Callable[[Path], None]) -> None:
        """Act on the directory whose turn it is; on one that fails, while there is another, no more."""
        while True:
            directory = self._directories.pop(0)
            try:
                act(directory)
            except OSError as error:
                if not self._directories:
                    raise
                warn(f"no further spills in {directory}: {error.strerror or error}")
            else:
                self._directories.append(directory)
                return

    def _try(self, directory: Path) -> None:
        """Check that spills can be written to a directory, and that none is mistaken for a new one."""
        if self._are_kept:
            self._remove_earlier(directory)
        self._open(self._path(directory), directory).discard()

    def _add(self, directory: Path, write: Callable[[PendingFile], Written]) -> None:
        name = self._path(directory)
        file = self._open(name, directory)
        try:
            # A spill that is not kept has no name, and the target may lie elsewhere.
            with naming(name if self._are_kept else directory):
                written = write(file)
        except BaseException:
            file.discard()
            raise
        self._spills.append(_Spill(name, file))
        self.byte_count += written.byte_count
        self._last_layout = written.layout

    def _path(self, directory: Path, number: int | None = None) -> Path:
        """The name of a spill, by default the next; if none is kept, the target's, in case that there is no other."""
        number = len(self._spills) if number is None else number
        return directory / f"{_stem(self._target)}-{number:05}{SPILL_PATTERN}" if self._are_kept else self._target

    def _remove_earlier(self, directory: Path) -> None:
        for path in kept_spills(self._target, [directory]):
            if not self._options.merge.overwrite:
                raise _earlier_spill(path)
            path.unlink(missing_ok=True)

    def _open(self, path: Path, directory: Path) -> PendingFile:
        merge = self._options.merge
        return open_pending(path, directory=directory, overwrite=merge.overwrite, durable=merge.durable)


def _earlier_spill(path: Path) -> TargetExistsError:
    return TargetExistsError(
        "an earlier spill, whose rows a merge of the directory would add to the new ones",
        path=path,
        advice="remove such spills, or let overwrite=True do it",
    )
