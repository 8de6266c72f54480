"""The kinds of files that the commands look into, one class each behind one interface; and which kind a path is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, ClassVar, Protocol

from shuffle.inspecting.arrow import ArrowFile
from shuffle.inspecting.checking import Check, Progress
from shuffle.inspecting.pushed import PushedFiles, select_pushed
from shuffle.inspecting.results import FileRepair, Inspected
from shuffle.inspecting.spark import SparkFiles
from shuffle.merging.formats import looks_like_sparks
from shuffle.numbering import Numbers
from spill_format.spark.outputs import DATA_SUFFIX


class Kind(Protocol):
    """A file of some kind, or the files that belong together."""

    format: ClassVar[str]
    """The name of the kind."""
    is_repairable: ClassVar[bool]
    """Whether anything tells what is whole in a damaged file of this kind."""

    @property
    def path(self) -> str:
        """The path as it was given; of several files that belong together, the path of the data."""

    @property
    def byte_count(self) -> int:
        """Bytes that a check reads at most, for a progress bar."""

    def inspect(self) -> Inspected:
        """Read and check what the file says of itself.

        Raises:
            CorruptError: it is damaged.
            SpillError: it is something else.
            OSError: it cannot be read.
        """

    def check(self, *, fast: bool, progress: Progress) -> Check:
        """Begin to check every byte, or with ``fast`` only what the file says of itself."""

    def repair(self, target: str, *, overwrite: bool, durable: bool, progress: Progress) -> FileRepair:
        """Write what is whole into a new file.

        Args:
            target: its name.
            overwrite: replace it if it exists, but never the damaged file.
            durable: fsync the target and its directory.
            progress: told how many further bytes were looked at or written.

        Raises:
            TargetExistsError: the target exists, or is the damaged file.
            CorruptError: nothing is whole.
            SpillError, OSError: the file cannot be repaired, reading or writing failed.
        """

    def raw(self, partitions: Numbers | None, chunks: Numbers | None) -> Iterator[bytes]:
        """Read the bytes of ranges as they are in a file, or in the pushed partitions of one shuffle in a directory.

        Args:
            partitions: pairs ``(start, stop)``, or None for all.
            chunks: likewise, of one pushed partition.

        Raises:
            ValueError: there are no such partitions or chunks.
            SpillError, OSError: the file is damaged, or cannot be read.
        """

    @staticmethod
    def shuffles(files: Sequence[Inspected]) -> list[dict[str, Any]]:
        """Sum up the files of this kind: one summary for each shuffle."""


KINDS: tuple[type[Kind], ...] = (ArrowFile, SparkFiles, PushedFiles)

Paths = str | PathLike[str] | Iterable[str | PathLike[str]]
"""One path, or several."""


def find(paths: Paths) -> list[Kind]:
    """Find the files that paths mean: a file itself; the Arrow files in a directory; and all of Spark's files below a
    directory that plainly is Spark's.

    All of Spark's directories stand at the place of the first of them, since an output may lie in several.

    Raises:
        ValueError: there are no paths, or a directory holds no such file.
        SpillError: the same output is there twice.
        OSError: a directory cannot be listed.
    """
    listed = [os.fspath(paths)] if isinstance(paths, (str, PathLike)) else [os.fspath(path) for path in paths]
    if not listed:
        raise ValueError("no files: not a single path was given")
    roots = [path for path in listed if os.path.isdir(path) and looks_like_sparks(path)]
    found: list[Kind] = []
    for number, path in enumerate(listed):
        if not os.path.isdir(path):
            found.append(_at(path))
        elif path not in roots:
            found += ArrowFile.below(path)
        elif number == listed.index(roots[0]):
            sparks: list[Kind] = [*SparkFiles.below(roots), *PushedFiles.below(roots)]
            arrow = [file for root in roots for file in ArrowFile.below(root, needed=False)]
            if not sparks and not arrow:
                raise ValueError(f"no shuffle files: looked for shuffle_*_*_*.index below {', '.join(roots)}")
            found += [*sparks, *arrow]
    return found


def _at(path: str) -> Kind:
    if PushedFiles.is_at(path):
        return PushedFiles.at(path)
    return SparkFiles.at(path) if path.endswith(DATA_SUFFIX) else ArrowFile(path)


def raw(path: str | PathLike[str], partitions: Numbers | None = None, chunks: Numbers | None = None) -> Iterator[bytes]:
    """Read the bytes of ranges as they are in a file, or in the pushed partitions of one shuffle in a directory.

    Arguments and errors as for ``Kind.raw``.
    """
    path = os.fspath(path)
    if os.path.isdir(path) and looks_like_sparks(path) and (pushed := PushedFiles.below([path])):
        wanted = select_pushed(pushed, partitions, path)
        if chunks is not None and len(wanted) > 1:
            raise ValueError(f"chunks of which of {len(wanted)} pushed partitions? Ask for one partition")
        for each in wanted:
            yield from each.raw(None, chunks)
    else:
        yield from _at(path).raw(partitions, chunks)
