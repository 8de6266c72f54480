"""``shuffle.repair``: new files of what is whole in damaged ones, and what was lost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import Any

from shuffle.inspecting.checking import Progress
from shuffle.inspecting.kinds import Kind, find
from shuffle.inspecting.results import PROBLEMS, Failure, FileRepair, State, worst
from shuffle.wording import counted
from spill_format.errors import CorruptError, TargetExistsError
from spill_format.storage.publication import is_there


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """What was recovered.

    Attributes:
        target: the new file, or the directory of the new files.
        files: what was recovered of each file, in order.
        failures: the files that nothing was recovered of, each with its error.
    """

    target: str
    files: tuple[FileRepair, ...]
    failures: tuple[Failure, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing was lost."""
        return not self.failures and all(file.is_complete for file in self.files)

    @property
    def state(self) -> State:
        """``"ok"`` where nothing was lost, ``"unreadable"`` where a file could not be read, else ``"damaged"``."""
        return worst(["ok" if self.is_complete else "damaged", *(failure.state for failure in self.failures)])

    def as_dict(self) -> dict[str, Any]:
        """The repair as JSON has it."""
        return {
            "target": self.target,
            "is_complete": self.is_complete,
            "files": [file.as_dict() for file in self.files] + [failure.as_dict() for failure in self.failures],
        }

    def __str__(self) -> str:
        """The repair in one line."""
        written = [file for file in self.files if file.target is not None]
        if len(self.files) + len(self.failures) == 1:
            (file,) = self.files
            return f"{self.target}: recovered {file.recovered}"
        lossy = len(self.files) + len(self.failures) - sum(file.is_complete for file in self.files)
        return f"{self.target}: recovered {counted(len(written), 'file')}, {lossy:,} with losses"


def repair(
    path: str | PathLike[str],
    target: str | PathLike[str],
    *,
    overwrite: bool = False,
    durable: bool = False,
    progress: Progress = lambda _count: None,
) -> Repair:
    """Write a sound file with all that is whole of a damaged file, which is not touched; or do so for each file of a
    directory.

    Of an Arrow file every whole record batch is kept: where nothing is lost the ranges are the same bytes as before. Of
    a pushed partition every whole chunk is kept; the maps' own outputs have the blocks that are lost.

    Args:
        path: a file or a directory.
        target: the file to make; of a directory, the directory for the new files, which is made if it is missing. Each
            file appears whole or not at all.
        overwrite: replace existing targets, but never a damaged file.
        durable: fsync the targets and their directory.
        progress: told how many further bytes were looked at or written.

    Returns:
        What was recovered, and what was not.

    Raises:
        TargetExistsError: a target exists, or is a damaged file; nothing was written then.
        CorruptError: nothing is whole, in any file.
        ModuleNotFoundError: pyroaring is not installed.
        SpillError: another kind of file.
        OSError: reading or writing failed.
    """
    path, target = os.fspath(path), os.fspath(target)
    if not os.path.isdir(path):
        (file,) = find(path)
        repaired = file.repair(target, overwrite=overwrite, durable=durable, progress=progress)
        if repaired.target is None:
            raise CorruptError(f"nothing can be recovered: {repaired.lost[0]}", path=path)
        return Repair(target, (repaired,), ())
    return _repair_directory(path, target, overwrite=overwrite, durable=durable, progress=progress)


def _repair_directory(path: str, target: str, *, overwrite: bool, durable: bool, progress: Progress) -> Repair:
    found = find(path)
    pairs = [
        (file, os.path.join(target, os.path.basename(file.path)))
        for file in [each for each in found if each.is_repairable] or found
    ]
    _refuse_targets(pairs, overwrite=overwrite)
    is_new = not os.path.isdir(target)
    os.makedirs(target, exist_ok=True)
    files: list[FileRepair] = []
    failures: list[Failure] = []
    for file, name in pairs:
        try:
            files.append(file.repair(name, overwrite=overwrite, durable=durable, progress=progress))
        except (TargetExistsError, ModuleNotFoundError):
            raise
        except PROBLEMS as error:
            failures.append(Failure(file.path, error))
    if all(repaired.target is None for repaired in files):
        if is_new:
            os.rmdir(target)
        reason = f": {failures[0].problem}" if failures else ""
        raise CorruptError(f"nothing can be recovered of any of {counted(len(pairs), 'file')}{reason}", path=path)
    return Repair(target, tuple(files), tuple(failures))


def _refuse_targets(pairs: list[tuple[Kind, str]], *, overwrite: bool) -> None:
    """Raise TargetExistsError where a file to make is there, before anything is written."""
    names = [name for _, name in pairs]
    for file, name in pairs:
        if os.path.exists(name) and os.path.exists(file.path) and os.path.samefile(file.path, name):
            raise TargetExistsError("a file is never repaired in place", path=name, advice="choose another name")
        if names.count(name) > 1 or (is_there(name) and not overwrite):
            raise TargetExistsError(
                "the target already exists",
                path=name,
                advice="choose another name, or replace it with overwrite=True",
            )
