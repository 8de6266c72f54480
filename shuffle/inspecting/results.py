"""What inspecting, verifying and repairing one file answer, whatever kind of file it is. Nothing here reads a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np

from shuffle.inspecting.sizes import Order, PartitionSizes
from shuffle.wording import as_ranges, counted, sized
from spill_format.errors import CorruptError, MismatchError, SpillError, in_words
from spill_format.layout import Int64Array

State = Literal["ok", "unfit", "damaged", "unreadable"]
"""Of a file: sound; sound, but a merge with the spills beside it would refuse it; not what was written; or not judged,
because something else is in the way. From good to bad."""

Problem = SpillError | OSError | MemoryError | ModuleNotFoundError
"""What may be wrong with one file, while others can still be looked at."""
PROBLEMS = (SpillError, OSError, MemoryError, ModuleNotFoundError)


class FileResult(Protocol):
    """What is known of one file."""

    @property
    def path(self) -> str:
        """As it was given; of several files that belong together, that of the data."""

    @property
    def state(self) -> State:
        """The verdict."""

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None where nothing is."""

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON has it."""


class Inspected(FileResult, Protocol):
    """What inspecting one file shows."""

    format: ClassVar[str]

    @property
    def sizes(self) -> PartitionSizes | None:
        """Sizes of the partitions; None for a file of one partition."""

    def listed(self, order: Order | None, top: int | None) -> dict[str, list[dict[str, Any]]]:
        """Return the single parts as JSON has them, under their noun: all, or the first ``top`` in an order."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that cannot be looked at, or not to its end.

    Attributes:
        path: of the file.
        error: what happened.
    """

    path: str
    error: Problem

    @property
    def state(self) -> State:
        """Damaged where the file's bytes are at fault."""
        return "damaged" if isinstance(self.error, CorruptError) else "unreadable"

    @property
    def problem(self) -> str:
        """The error in words."""
        return in_words(self.error)

    def as_dict(self) -> dict[str, Any]:
        """The failure as JSON has it."""
        return {"path": self.path, "state": self.state, "problem": self.problem}

    def __str__(self) -> str:
        return f"{self.path}: {self.state}: {self.problem}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SizedInspection:
    """What a sound file of numbered ranges says of itself.

    Attributes:
        path: as it was given.
        byte_count: size of the file, or of all its ranges.
        codecs: how ranges are compressed: up to 64 places, spread over the file, were looked at.
        sizes: of its partitions.
    """

    path: str
    byte_count: int
    codecs: tuple[str, ...]
    sizes: PartitionSizes
    format: ClassVar[str]
    state: ClassVar[State] = "ok"
    problem: ClassVar[str | None] = None

    def details(self) -> dict[str, Any]:
        """What only files of this kind have, as JSON has it."""
        raise NotImplementedError

    def listed(self, order: Order | None, top: int | None) -> dict[str, list[dict[str, Any]]]:
        """The single partitions as JSON has them, in an order: all, or the first ``top``."""
        return {"partitions": self.sizes.listed(order or "partition", top)}

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "state": self.state,
            "path": self.path,
            "format": self.format,
            "byte_count": self.byte_count,
            "codecs": list(self.codecs),
            **self.details(),
            **self.sizes.as_dict(),
        }

    def __str__(self) -> str:
        return f"{self.path}: {self.sizes}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileVerification:
    """What checking a file showed.

    Attributes:
        path: as it was given.
        format: the kind of file.
        byte_count: size of the file, or of all its ranges.
        partition_count, row_count: of the file; None where its structure is damaged and nothing else tells, or where
            its bytes are opaque.
        checksums: the algorithm of the recorded checksums; None where none are recorded.
        fast: no range was read.
        damaged_partitions: ``int64[D]``, ascending: the partitions whose bytes are not all the ones that were written;
            of a file whose structure is damaged, the partitions that lost rows or may have.
        first_damage: the error of the structure, or else of the first damaged partition; None for a sound file.
        structure_is_sound: header, index and footer are.
        misfit: why a merge with the spills beside it would refuse the file, or None.
    """

    path: str
    format: str
    byte_count: int
    partition_count: int | None
    row_count: int | None = None
    checksums: str | None
    fast: bool
    damaged_partitions: Int64Array
    first_damage: SpillError | None
    structure_is_sound: bool = True
    misfit: MismatchError | None = None

    @property
    def state(self) -> State:
        """The verdict."""
        if self.first_damage is not None:
            return "damaged"
        return "ok" if self.misfit is None else "unfit"

    @property
    def sound_partitions(self) -> Int64Array:
        """``int64[S]``, ascending: the partitions that are known to be whole."""
        return np.setdiff1d(np.arange(self.partition_count or 0), self.damaged_partitions)

    @property
    def problem(self) -> str | None:
        """What is wrong, in words: damaged partitions first, where they are known."""
        if self.first_damage is None and self.misfit is not None:
            return str(self.misfit).removesuffix(f"; {self.misfit.advice}")  # which is for a merge
        if self.first_damage is None or self.partition_count is None:
            return None if self.first_damage is None else str(self.first_damage)
        damaged, sound = self.damaged_partitions.tolist(), self.sound_partitions.tolist()
        of = f"{len(damaged):,} of {counted(self.partition_count, 'partition')}"
        if not self.structure_is_sound:
            lost = f"{of} lost rows or may have ({as_ranges(damaged)})" if damaged else "no partition lost rows"
            return f"{self.first_damage}; {lost}; sound: {as_ranges(sound) or 'none'}"
        return f"{of} ({as_ranges(damaged)}), sound: {as_ranges(sound) or 'none'}; {self.first_damage}"

    def as_dict(self) -> dict[str, Any]:
        """The verification as JSON has it."""
        found = {
            "state": self.state,
            "path": self.path,
            "format": self.format,
            "partition_count": self.partition_count,
            "row_count": self.row_count,
            "byte_count": self.byte_count,
            "checksums": self.checksums,
            "structure_is_sound": self.structure_is_sound,
            "damaged_partitions": self.damaged_partitions.tolist(),
        }
        return found if self.problem is None else {**found, "problem": self.problem}

    def __str__(self) -> str:
        if self.problem is not None:
            return f"{self.path}: {self.state}: {self.problem}"
        rows = [] if self.row_count is None else [counted(self.row_count, "row")]
        checked = f"{self.checksums} of each" if self.checksums else "no checksums to compare"
        facts = [
            counted(self.partition_count or 0, "partition"),
            *rows,
            "structure only" if self.fast else checked,
            sized(self.byte_count),
        ]
        return f"{self.path}: ok ({', '.join(facts)})"


class FileRepair(Protocol):
    """What was recovered of one file."""

    @property
    def path(self) -> str:
        """Of the damaged file."""

    @property
    def target(self) -> str | None:
        """The new file; None where nothing was whole, so that no file was made."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is lost."""

    @property
    def recovered(self) -> str:
        """What was recovered, in words."""

    @property
    def lost(self) -> list[str]:
        """What was lost, in words, as far as it is not too much to read."""

    def as_dict(self) -> dict[str, Any]:
        """The repair as JSON has it."""


def worst(states: Iterable[State]) -> State:
    """Return the state of several files together."""
    return max(states, key=get_args(State).index, default="ok")
