"""Finding the files of shuffles where Spark leaves them: under ``blockmgr-*`` roots, in hashed subdirectories, and of
push-based shuffles under ``merge_manager*`` likewise.

Spark hashes each file by its own name, so that data, index and checksums of one output lie in three places, with
several local directories even on three disks. Names are put together here; ``outputs.py`` says what files hold.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from os import PathLike
from typing import NamedTuple

from spill_format.errors import SpillError
from spill_format.range_checksums import ALGORITHMS
from spill_format.spark.outputs import CHECKSUM_SUFFIX, DATA_SUFFIX, INDEX_SUFFIX, OutputPaths
from spill_format.spark.pushed_scan import META_SUFFIX, PushedPaths, pushed_paths_beside
from spill_format.storage.publication import is_there

_NUMBER = r"(0|[1-9][0-9]*)"  # as Spark writes it: 01 is somebody else's, and would stand for the same output
_CHECKSUM = rf"\.checksum\.(?:{'|'.join(ALGORITHMS)})"
_OUTPUT = re.compile(rf"shuffle_{_NUMBER}_{_NUMBER}_{_NUMBER}(\.data|\.index|{_CHECKSUM})")
_PUSHED = re.compile(rf"shuffleMerged_(.+)_{_NUMBER}_{_NUMBER}_{_NUMBER}(\.data|\.index|\.meta)")
_ROOT = re.compile(r"blockmgr-.+|merge_manager(_.+)?")
_SUBDIRECTORY = re.compile(r"[0-9a-f]{2}", re.ASCII)


class OutputName(NamedTuple):
    """What the name of an output tells. Sorts by shuffle, then by map.

    Attributes:
        shuffle: its number.
        map: since Spark 3 the id of the task attempt, unique in its application; before, the number of the map task.
        reduce: 0 in every name of a file; the file holds all of them.
    """

    shuffle: int
    map: int
    reduce: int = 0

    def __str__(self) -> str:
        """The name without an extension."""
        return f"shuffle_{self.shuffle}_{self.map}_{self.reduce}"


class PushedName(NamedTuple):
    """What the name of a pushed partition's files tells. Sorts by application, shuffle, merge, and partition.

    Attributes:
        application: its id.
        shuffle: its number.
        merge: tells one try of merging a shuffle from the next.
        reduce: the partition.
    """

    application: str
    shuffle: int
    merge: int
    reduce: int

    def __str__(self) -> str:
        """The name without an extension."""
        return f"shuffleMerged_{self.application}_{self.shuffle}_{self.merge}_{self.reduce}"


Name = OutputName | PushedName
_Found = dict[str, str]
"""Where the files of one name are, by their suffixes."""


def parse_name(path: str | PathLike[str]) -> OutputName | None:
    """Parse the name of one of Spark's shuffle files; return None for any other name."""
    name, _ = _parse(os.path.basename(os.fspath(path)))
    return name if isinstance(name, OutputName) else None


def parse_pushed_name(path: str | PathLike[str]) -> PushedName | None:
    """Parse the name of one of a pushed partition's files; return None for any other name."""
    name, _ = _parse(os.path.basename(os.fspath(path)))
    return name if isinstance(name, PushedName) else None


def find_outputs(
    roots: Iterable[str | PathLike[str]], shuffle: int | None = None
) -> list[tuple[OutputName, OutputPaths]]:
    """Find all outputs below directories, or those of one shuffle, in the order of shuffles and maps.

    Also one of whose files a part is missing is found, for ``read_output`` to say so: silently left out, its rows
    would be lost. What Spark has not finished has other names.

    Args:
        roots: ``blockmgr-*`` directories, what lies above them, or any directories; searched with all below them, also
            where a symbolic link leads.
        shuffle: the number of one; None for all.

    Raises:
        SpillError: a file is there twice, so that nothing tells which one counts.
        OSError: a directory cannot be listed.
    """
    places = _places(roots, lambda name: isinstance(name, OutputName) and shuffle in {None, name.shuffle})
    outputs = sorted(name for name in places if isinstance(name, OutputName))
    return [(name, _paths_of(name, places[name])) for name in outputs]


def find_pushed(roots: Iterable[str | PathLike[str]]) -> list[tuple[PushedName, PushedPaths]]:
    """Find all pushed partitions below directories, in the order of their names, also where some of their files are
    missing.

    Arguments and errors as for ``find_outputs``.
    """
    places = _places(roots, lambda name: isinstance(name, PushedName))
    partitions = sorted(name for name in places if isinstance(name, PushedName))
    return [(name, _pushed_paths_of(name, places[name])) for name in partitions]


def find_files_of(data_path: str) -> OutputPaths | None:
    """Find the files of the output that has a data file of this name, where they lie in several subdirectories of one
    ``blockmgr-*`` root; return None where the name is not Spark's."""
    name, found = _find_scattered(data_path)
    return _paths_of(name, found) if isinstance(name, OutputName) else None


def find_pushed_files_of(data_path: str) -> PushedPaths:
    """Find the files of the pushed partition that has a data file: beside it, or where Spark's hashing has put them.

    Raises:
        ValueError: the name does not end with ``.data``.
        OSError: a directory cannot be listed.
    """
    beside = pushed_paths_beside(data_path)
    if is_there(beside.index) and is_there(beside.meta):
        return beside
    name, found = _find_scattered(data_path)
    return _pushed_paths_of(name, found) if isinstance(name, PushedName) else beside


def is_plainly_sparks(directory: str | PathLike[str]) -> bool:
    """Tell whether a directory is a ``blockmgr-*`` or ``merge_manager*`` root, holds one, or holds shuffle files
    itself."""
    if _ROOT.fullmatch(os.path.basename(os.path.abspath(directory))):
        return True
    return any(_ROOT.fullmatch(name) or _parse(name)[0] is not None for name in os.listdir(directory))


def _parse(file_name: str) -> tuple[Name | None, str]:
    """What a file's name tells, and its suffix."""
    if match := _OUTPUT.fullmatch(file_name):
        shuffle, map_id, reduce, suffix = match.groups()
        return OutputName(int(shuffle), int(map_id), int(reduce)), suffix
    if match := _PUSHED.fullmatch(file_name):
        application, shuffle, merge, reduce, suffix = match.groups()
        return PushedName(application, int(shuffle), int(merge), int(reduce)), suffix
    return None, ""


def _places(roots: Iterable[str | PathLike[str]], is_wanted: Callable[[Name], bool]) -> dict[Name, _Found]:
    """Where the files below ``roots`` are, by their names."""
    places: dict[Name, _Found] = defaultdict(dict)
    for directory, file_names in _directories(roots):
        for file_name in file_names:
            name, suffix = _parse(file_name)
            if name is None or not is_wanted(name):
                continue
            path = os.path.join(directory, file_name)
            if (other := places[name].setdefault(suffix, path)) != path:
                raise SpillError(
                    f"the same output is also in {other}", path=path, advice="give the roots of one application"
                )
    return places


def _find_scattered(data_path: str) -> tuple[Name | None, _Found]:
    """What the name of a data file tells, where it lies in a hashed subdirectory, and where its companions are in the
    subdirectories beside that."""
    subdirectory, file_name = os.path.split(os.path.abspath(data_path))
    root = os.path.dirname(subdirectory)
    name, suffix = _parse(file_name)
    if name is None or not _SUBDIRECTORY.fullmatch(os.path.basename(subdirectory)):
        return None, {}
    found = {suffix: data_path}
    for entry in sorted(filter(_SUBDIRECTORY.fullmatch, os.listdir(root))):
        directory = os.path.join(root, entry)
        for other in os.listdir(directory) if os.path.isdir(directory) else ():
            other_name, suffix = _parse(other)
            if other_name == name:
                found.setdefault(suffix, os.path.join(directory, other))
    return name, found


def _directories(roots: Iterable[str | PathLike[str]]) -> Iterable[tuple[str, list[str]]]:
    """Each directory once, also where one root lies in another, or links lead round in circles."""
    seen: set[str] = set()
    for root in roots:
        for directory, subdirectories, names in os.walk(os.fspath(root), onerror=_raise, followlinks=True):
            if (real := os.path.realpath(directory)) in seen:
                subdirectories.clear()
                continue
            seen.add(real)
            yield directory, names


def _raise(error: OSError) -> None:
    raise error


# A missing companion gets a path beside its siblings, so that an error can name it.


def _paths_of(name: OutputName, found: _Found) -> OutputPaths:
    checksums = sorted(path for suffix, path in found.items() if suffix.startswith(CHECKSUM_SUFFIX))
    data, index = _present_or_expected(name, found, DATA_SUFFIX, INDEX_SUFFIX)
    return OutputPaths(data, index, checksums[0] if checksums else None)


def _pushed_paths_of(name: PushedName, found: _Found) -> PushedPaths:
    return PushedPaths(*_present_or_expected(name, found, DATA_SUFFIX, INDEX_SUFFIX, META_SUFFIX))


def _present_or_expected(name: Name, found: _Found, *suffixes: str) -> list[str]:
    home = os.path.dirname(next(iter(found.values())))
    return [found.get(suffix, os.path.join(home, f"{name}{suffix}")) for suffix in suffixes]
