"""What tasks answer: descriptors of the files they published, and failures that the job's plan understands. Pure.

Everything here pickles. A descriptor is JSON, too, for drivers of other people's making.
"""

# PURE

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
"""Bytes a partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server of a host's files.

    Attributes:
        incarnation: identity of the process, random and made when it starts.
        control_url: where leases are renewed.
        urls: for each directory of the host, the URL below which its files are.
    """

    incarnation: str
    control_url: str
    urls: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The descriptor of one published file: what a map attempt or a host merge answers.

    Attributes:
        maps: numbers of the map tasks whose rows it has, ascending; a single one unless files were merged.
        attempt: identity of the attempt that made it, random and made inside the task.
        host: on whose disks it lies; the empty name for a file system that all hosts share.
        path: of the file there; None where there were no rows.
        rows: how many.
        byte_count: bytes of all ranges.
        sizes: bytes of each partition's range; the plan adds them up and lets go of them.
        digest: an order-insensitive hash of rows and partitions; None where it was not asked for.
        server: of the host's files, as it was then.
        seconds: the task took.
    """

    maps: tuple[int, ...]
    attempt: str
    host: str
    path: str | None
    rows: int
    byte_count: int
    sizes: Sizes | None = field(default=None, compare=False)
    digest: str | None = None
    server: Server | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The descriptor as JSON has it; ``sizes`` compressed."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.server is not None:
            values["server"] = {each.name: getattr(self.server, each.name) for each in fields(self.server)}
        if self.sizes is not None:
            values["sizes"] = base64.b64encode(zlib.compress(self.sizes.astype("<i8").tobytes(), 1)).decode()
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Output:
        """The descriptor that ``as_dict`` was of."""
        values = {**values, "maps": tuple(values["maps"])}
        if values["server"] is not None:
            values["server"] = Server(**values["server"])
        if values["sizes"] is not None:
            values["sizes"] = np.frombuffer(zlib.decompress(base64.b64decode(values["sizes"])), "<i8").astype(np.int64)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Source:
    """A file from which reduce tasks read.

    Attributes:
        host, path: where it lies; the empty host for a file system that all share.
        url: of the file at the host's server, or None.
        merge: number of the host merge that made it; None for the output of one map task.
        map: the first map task whose rows it has.
        incarnation: of the server that the URL is of.
    """

    host: str
    path: str
    url: str | None
    merge: int | None
    map: int
    incarnation: str | None = None


LossKind = Literal["unreachable", "gone", "damaged"]


@dataclass(frozen=True, slots=True)
class SourceLost:
    """A reduce task could not read a source: instead of values.

    Attributes:
        source: which one.
        kind: ``unreachable``: its server did not answer; ``gone``: there is no such file; ``damaged``: its bytes are
            wrong.
        reason: in words.
    """

    source: Source
    kind: LossKind
    reason: str


@dataclass(frozen=True, slots=True)
class DiskFull:
    """A task found no room on any disk of its host: instead of a descriptor."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskError:
    """A task raised: instead of an answer.

    Attributes:
        error: the exception.
        where: host and traceback, in words.
    """

    error: BaseException
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What a reduce task answers.

    Attributes:
        values: of ``reduce``, one a partition.
        host: where it ran.
        rows: it was given.
        bytes_local, bytes_fetched: of ranges, mapped from files and fetched from servers.
        seconds: it took.
    """

    values: list[Any]
    host: str
    rows: int
    bytes_local: int
    bytes_fetched: int
    seconds: float


def reason_of(answer: object) -> str:
    """Why a task is run again that answered so, in words."""
    match answer:
        case TaskError(error, _):
            return f"{type(error).__name__}: {error}"
        case SourceLost(source, kind, reason):
            return f"{source.path} is {kind}: {reason}"
        case DiskFull(host, reason):
            return f"the disks of host {host} are full: {reason}"
    return f"the engine answered {answer!r:.200}"
