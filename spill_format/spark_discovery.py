"""Finding the outputs of shuffles where Spark leaves them: under ``blockmgr-*`` roots, in hashed subdirectories.

Spark hashes each file by its own name, so that data, index and checksums of one output lie in three places, with
several local directories even on three disks. Here names are put together; what files hold is ``spark.py``'s business.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from os import PathLike
from typing import NamedTuple

from spill_format.errors import SpillError
from spill_format.spark import CHECKSUM_SUFFIX, DATA_SUFFIX, INDEX_SUFFIX, OutputPaths

_NAME = re.compile(r"shuffle_(\d+)_(\d+)_(\d+)(\.data|\.index|\.checksum\.[A-Z0-9]+)", re.ASCII)
_ROOT = re.compile(r"blockmgr-.+")
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


def parse_name(path: str | PathLike[str]) -> OutputName | None:
    """What the name of one of Spark's shuffle files tells; None for any other name."""
    match = _NAME.fullmatch(os.path.basename(os.fspath(path)))
    return None if match is None else OutputName(*map(int, match.groups()[:3]))


def find_outputs(
    roots: Iterable[str | PathLike[str]], shuffle: int | None = None
) -> list[tuple[OutputName, OutputPaths]]:
    """All outputs below directories, or those of one shuffle, in the order of shuffles and maps.

    Also one of whose files a part is missing is found, for ``read_output`` to say so: silently left out, its rows
    would be lost. What Spark has not finished has other names.

    Args:
        roots: ``blockmgr-*`` directories, what lies above them, or any directories; searched with all below them.
        shuffle: the number of one; None for all.

    Raises:
        SpillError: a file is there twice, so that nothing tells which one counts.
        OSError: a directory cannot be listed.
    """
    places: dict[OutputName, dict[str, str]] = defaultdict(dict)
    seen: set[str] = set()
    for directory, names in _directories(roots, seen):
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            output = OutputName(*map(int, match.groups()[:3]))
            if shuffle is not None and output.shuffle != shuffle:
                continue
            path = os.path.join(directory, name)
            if (other := places[output].setdefault(match[4], path)) != path:
                raise SpillError(
                    f"the same output is also in {other}", path=path, advice="give the roots of one application"
                )
    return [(name, _paths_of(name, places[name])) for name in sorted(places)]


def find_files_of(data_path: str) -> OutputPaths | None:
    """The files of the output whose data file would have this name, where index or checksums do not lie beside it but
    in another subdirectory of the same ``blockmgr-*`` root; None where the name is none of Spark's."""
    subdirectory, name = os.path.split(os.path.abspath(data_path))
    root = os.path.dirname(subdirectory)
    output = parse_name(name)
    if output is None or not _SUBDIRECTORY.fullmatch(os.path.basename(subdirectory)):
        return None
    stem = name.removesuffix(DATA_SUFFIX)
    found: dict[str, str] = {DATA_SUFFIX: data_path}
    for entry in sorted(filter(_SUBDIRECTORY.fullmatch, os.listdir(root))):
        for file in os.listdir(os.path.join(root, entry)):
            if file.startswith(stem) and (match := _NAME.fullmatch(file)):
                found.setdefault(match[4], os.path.join(root, entry, file))
    return _paths_of(output, found)


def is_plainly_sparks(directory: str | PathLike[str]) -> bool:
    """Whether a directory is a ``blockmgr-*`` root, holds one, or holds shuffle files itself."""
    if _ROOT.fullmatch(os.path.basename(os.path.abspath(directory))):
        return True
    return any(_ROOT.fullmatch(name) or _NAME.fullmatch(name) for name in os.listdir(directory))


def _directories(roots: Iterable[str | PathLike[str]], seen: set[str]) -> Iterable[tuple[str, list[str]]]:
    """Each directory once, also where one root lies in another."""
    for root in roots:
        for directory, _, names in os.walk(os.fspath(root), onerror=_raise):
            if (real := os.path.realpath(directory)) not in seen:
                seen.add(real)
                yield directory, names


def _raise(error: OSError) -> None:
    raise error


def _paths_of(name: OutputName, found: dict[str, str]) -> OutputPaths:
    checksums = sorted(path for suffix, path in found.items() if suffix.startswith(CHECKSUM_SUFFIX))
    # What is missing is expected beside the rest: somewhere must be said that it is not.
    home = os.path.dirname(next(iter(found.values())))
    stem = os.path.join(home, str(name))
    return OutputPaths(
        found.get(DATA_SUFFIX, stem + DATA_SUFFIX),
        found.get(INDEX_SUFFIX, stem + INDEX_SUFFIX),
        checksums[0] if checksums else None,
    )
