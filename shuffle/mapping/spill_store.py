"""Where the spills of one map task lie: directories taken in turn, names if they are to be kept, and their removal.

What is in a spill, and when there is to be one, is decided by ``map_writer.py``.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from shuffle.merging.formats.arrow import ARROW, borrow_source
from shuffle.merging.merge import plan_sources
from shuffle.merging.sources import SPILL_PATTERN, Source
from shuffle.merging.target_writer import write_merged
from shuffle.merging.verification import verify_written
from shuffle.options import MapOptions
from shuffle.report import MergeReport
from shuffle.warning import warn
from spill_format.errors import TargetExistsError, naming
from spill_format.layout import PartitionLayout
from spill_format.storage.publication import PendingFile, open_pending

_MAXIMUM_UNNAMED_SPILLS = 128  # each holds a descriptor


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


def _stem(target: Path) -> str:
    return target.name.removesuffix(".arrow")


class SpillStore:
    """The spills of the map output ``target``, in the order in which they were written.

    Raises:
        TargetExistsError: spills are to be kept, earlier ones are there, and ``overwrite`` is off.
        OSError: no spill directory can be written.
    """

    def __init__(self, target: Path, options: MapOptions) -> None:
        self.count: int = 0
        """How many spills were written; joining them does not lessen it."""
        self.byte_count: int = 0
        """Their sizes together."""
        self.seconds_joining: float = 0.0
        """What it took to merge spills before the end."""
        self.names: list[Path] = []
        """Of spills that are to be kept."""
        self._target = target
        self._options = options
        self._are_kept = options.keep_spills or options.spills_only
        self._directories = spill_directories(target, options)
        self._unnamed: list[PendingFile] = []
        self._last_layout: PartitionLayout | None = None
        for _ in range(len(self._directories)):
            self._in_some_directory(lambda directory: self._open(self._path(directory), directory).discard())
        if self._are_kept:
            self._remove_earlier()

    def add(self, write: Callable[[PendingFile], Written]) -> None:
        """Write one spill more. ``write`` fills a file; it is called again, for another directory, where that failed.

        Raises:
            OSError: no directory is left that takes it.
        """
        self._in_some_directory(lambda directory: self._add(directory, write))
        self.count += 1
        if len(self._unnamed) == _MAXIMUM_UNNAMED_SPILLS:
            self._join()

    def publish_only_one(self) -> PartitionLayout | None:
        """Give the only spill the target's name, without copying, and return its layout.

        None where there are more spills, where the spill is to be kept, or where it lies on another file system.

        Raises:
            SpillError, OSError: as ``verify_written`` does, where that is asked for, and publishing.
        """
        if len(self._unnamed) != 1:
            return None
        (spill,) = self._unnamed
        if self._options.merge.verify:
            assert self._last_layout is not None  # of this spill
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
        pa.system_memory_pool().release_unused()
        sources: list[Source] = [ARROW.open_source(path) for path in self.names]
        for number, spill in enumerate(self._unnamed):
            sources.append(borrow_source(spill.descriptor, f"spill {number} of {self._target}"))
        prepared = plan_sources(sources, ARROW)
        return write_merged(prepared, output, self._options.merge), prepared.trailer.layout

    def remove_kept(self) -> None:
        """Remove the spills that have names."""
        for path in self.names:
            with suppress(FileNotFoundError):
                path.unlink()

    def close(self) -> None:
        """Let go of the spills that have no names: they vanish."""
        for spill in self._unnamed:
            spill.discard()

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

    def _add(self, directory: Path, write: Callable[[PendingFile], Written]) -> None:
        name = self._path(directory)
        if not self._are_kept:
            spill = self._open(name, directory)
            try:
                with naming(directory):  # it has no name, and the target may lie elsewhere
                    written = write(spill)
            except BaseException:
                spill.discard()
                raise
            self._unnamed.append(spill)
        else:
            with self._open(name, directory) as spill, naming(name):
                written = write(spill)
                spill.publish()
            self.names.append(name)
        self.byte_count += written.byte_count
        self._last_layout = written.layout

    def _join(self) -> None:
        """Merge the spills so far into one, so that there are never too many descriptors."""

        def join(directory: Path) -> None:
            joined = self._open(self._target, directory)
            try:
                report, _ = self.merge_into(joined)
            except BaseException:
                joined.discard()
                raise
            self.seconds_joining += report.seconds
            self.close()
            self._unnamed = [joined]

        self._in_some_directory(join)

    def _path(self, directory: Path) -> Path:
        """The name of the next spill; of one that is not kept, it is the target's, in case that there is no other."""
        return directory / f"{_stem(self._target)}-{self.count:05}{SPILL_PATTERN}" if self._are_kept else self._target

    def _remove_earlier(self) -> None:
        for path in kept_spills(self._target, self._directories):
            if not self._options.merge.overwrite:
                raise TargetExistsError(
                    "an earlier spill, whose rows a merge of the directory would add to the new ones",
                    path=path,
                    advice="remove such spills, or let overwrite=True do it",
                )
            path.unlink(missing_ok=True)

    def _open(self, path: Path, directory: Path) -> PendingFile:
        merge = self._options.merge
        return open_pending(path, directory=directory, overwrite=merge.overwrite, durable=merge.durable)
