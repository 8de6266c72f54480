"""What a job's plan is told and what it wants: events, actions, and the rules it decides by. Pure."""

# PURE

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shuffle.jobs.descriptor import DiskFull, LossKind, Output, Server, Source
from shuffle.jobs.reduce_units import Unit

Merges = Literal["shared", "host", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a job decides with.

    Attributes:
        attempts: how often a task may be started.
        slots: how many tasks the engine runs at once.
        running: how many tasks are given to it at once.
        merges: whether outputs are merged before they are read: ``"shared"`` by any worker, in the order of the maps;
            ``"host"`` by workers of the host, in the order in which maps finish; ``"never"``.
        merge_from: how many outputs of a host are worth a merge, unless their ranges are large.
        merge_most: how many outputs one merge joins at most.
        unit_bytes: neighbouring partitions are reduced in one task up to so many bytes.
        slice_bytes: a partition of more bytes is cut into slices; None: never.
        changed_rows: what happens when a map gives other rows the second time: the job fails (``"raise"``), or all
            partitions are reduced again (``"rerun"``).
    """

    attempts: int = 4
    slots: int = 1
    running: int = 2
    merges: Merges = "shared"
    merge_from: int = 4
    merge_most: int = 128
    unit_bytes: int = 64 << 20
    slice_bytes: int | None = None
    changed_rows: Literal["raise", "rerun"] = "raise"


# Events. A task is known by the number that its start gave it.


@dataclass(frozen=True, slots=True)
class MapDone:
    """A map attempt answered."""

    task: int
    output: Output


@dataclass(frozen=True, slots=True)
class MergeDone:
    """A host merge answered."""

    task: int
    output: Output


@dataclass(frozen=True, slots=True)
class ReduceDone:
    """A reduce task answered."""

    task: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A task raised, its worker died, or the engine could not run it."""

    task: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class Full:
    """A task found no room on the disks of its host."""

    task: int
    full: DiskFull


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A reduce task could not read a source."""

    task: int
    source: Source
    kind: LossKind
    reason: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """A task takes so long that another attempt is worth it."""

    task: int


@dataclass(frozen=True, slots=True)
class HostSilent:
    """The server of a host does not answer the driver."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostRevived:
    """A host has a server again, with the same files."""

    host: str
    server: Server


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host is gone, with its workers, its server and its disks."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostDrained:
    """A host takes no more maps; its files stay."""

    host: str


TaskEvent = MapDone | MergeDone | ReduceDone | Failed | Full | FetchFailed
HostEvent = HostSilent | HostRevived | HostLost | HostDrained
Event = TaskEvent | Stalled | HostEvent


# Actions.


@dataclass(frozen=True, slots=True)
class StartMap:
    """Start an attempt of a map task, not on these hosts."""

    task: int
    map: int
    avoid: frozenset[str]


@dataclass(frozen=True, slots=True)
class StartMerge:
    """Merge outputs on their host (any, for the empty name), compacting where that is set."""

    task: int
    merge: int
    host: str
    sources: tuple[Source, ...]
    compact: bool


@dataclass(frozen=True, slots=True)
class StartReduce:
    """Start a reduce task; for each side of a join its sources, in the order of the rows."""

    task: int
    number: int
    unit: Unit
    sides: tuple[tuple[Source, ...], ...]


@dataclass(frozen=True, slots=True)
class Accept:
    """The answer of a task counts: it is the first of its kind."""

    task: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove a file that nobody needs: it lost against another attempt."""

    output: Output


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for a task any more."""

    task: int


@dataclass(frozen=True, slots=True)
class Revive:
    """See to it that a host has a server; answer ``HostRevived`` or ``HostLost``."""

    host: str


@dataclass(frozen=True, slots=True)
class Finish:
    """All is done, or, with an error, in vain."""

    error: BaseException | None = None


Start = StartMap | StartMerge | StartReduce
Action = Start | Accept | Forget | Cancel | Revive | Finish


class LostError(OSError):
    """What a map task published was lost too often."""


class DiskFullError(OSError):
    """No disk of a host has room for what a task publishes."""


class ChangedRowsError(ValueError):
    """A map task gave other rows the second time, so that partitions reduced before and after do not fit together."""
