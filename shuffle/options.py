"""What callers can choose: frozen options whose defaults are written here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from shuffle.machine.cores import usable_cores
from spill_format.framing import check_alignment

TransferTo = Literal["auto", "on", "off"]
MethodName = Literal["clone", "copy_file_range", "sendfile", "gather", "buffered"]

METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
"""Every copy method, in the order in which one gives way to the next."""
KERNEL_METHODS = METHOD_NAMES[:3]
"""Those that copy inside the kernel."""
MINIMUM_MEMORY_BYTES = 1 << 20
TRANSFER_TO_VARIABLE = "SHUFFLE_TRANSFER_TO"


def default_transfer_to() -> TransferTo:
    """``auto``, or what the environment variable ``SHUFFLE_TRANSFER_TO`` says instead.

    Raises:
        ValueError: the variable holds something else than auto, on or off.
    """
    value = os.environ.get(TRANSFER_TO_VARIABLE) or "auto"
    _check_choice(f"the environment variable {TRANSFER_TO_VARIABLE}", value, get_args(TransferTo))
    return value  # type: ignore[return-value]  # checked in the line above


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOptions:
    """How to merge.

    Attributes:
        transfer_to: copying inside the kernel. ``"auto"``: yes, and if a position assertion fails, discard what was
            written and rebuild it with buffered copying; ``"on"``: yes, and raise; ``"off"``: never. By default what
            ``SHUFFLE_TRANSFER_TO`` says, else ``"auto"``.
        method: the copy method to begin with; ``"auto"`` chooses. A method that the kernel refuses gives way to the
            next one, so that every merge ends with ``buffered``.
        threads: how many copy at the same time, each its own part of the target; by default one a usable core, at
            most 4.
        overwrite: replace an existing target, atomically. Off: an existing target is an error.
        durable: fsync the target and its directory before reporting success. Costs waiting for the disk.
        verify: read the target again before it is published, and compare it with the sources' checksums or, where
            these have none, with their bytes. Costs reading it once.
        delete_sources: remove the sources once the target is published.
        compact: decode, join the small record batches of each partition into batches of 1 MiB, and encode again. For
            targets that are read many times; costs decoding and encoding. The bytes do not depend on ``threads``.
        memory_bytes: of a compacting merge, from 1 MiB on: what is read, decoded and encoded at a time. The process
            takes some 64 MiB more with its libraries, and a record batch that is larger by itself is decoded whole.
    """

    transfer_to: TransferTo = field(default_factory=default_transfer_to)
    method: MethodName | Literal["auto"] = "auto"
    threads: int = field(default_factory=lambda: min(usable_cores(), 4))
    overwrite: bool = False
    durable: bool = False
    verify: bool = False
    delete_sources: bool = False
    compact: bool = False
    memory_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        _check_choice("transfer_to", self.transfer_to, get_args(TransferTo))
        _check_choice("method", self.method, ("auto", *METHOD_NAMES))
        if self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {self.threads}")
        if self.transfer_to == "off" and self.method in KERNEL_METHODS:
            raise ValueError(f"method {self.method} copies inside the kernel, and transfer_to is off")
        if self.compact and self.method != "auto":
            raise ValueError(f"a compacting merge decodes, so that nothing is copied with method {self.method}")
        if self.memory_bytes < MINIMUM_MEMORY_BYTES:
            raise ValueError(f"memory_bytes must be {MINIMUM_MEMORY_BYTES} (1 MiB) or more, not {self.memory_bytes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """How a map task partitions, spills and publishes.

    Attributes:
        memory_bytes: the budget for rows held back, sorted and written, from 1 MiB on. They are spilled before it is
            passed. The process takes some 64 MiB more, with its libraries and the batch that its caller holds.
        spill_directories: where spills lie until merged: one or more, taken in turn, so that each may be a disk of
            its own; by default the target's directory. One that fails or is full is left, with a warning, while there
            is another. On the target's file system spills can be merged inside the kernel, and a single one is
            published without copying.
        keep_spills: publish each spill as ``{target's stem}-{number}.spill.arrow`` in a spill directory, the last
            rows too. Spills of such names that are there already are an error or, with ``merge.overwrite``, removed
            first, so that none is ever merged with others' rows. Off: spills have no names and vanish with the process.
        spills_only: keep the spills and write no target: to merge them, in the order of their numbers, is left to
            others. Whether the target exists does not matter. No rows at all make one spill of empty partitions.
        threads: how many sort and join rows beside the caller's; by default one a usable core, at most 4. With 1
            the caller's thread does everything. The bytes written are the same.
        compression: of record batch bodies: None, ``"lz4"`` or ``"zstd"``.
        alignment: bytes, a power of two from 8 to 65536; every range starts at a multiple of it. ``"auto"`` tries, when
            the first file is written, whether the directories' file system shares blocks: if so, and if padding costs
            under 2 %, alignment is that of its blocks, so that merges share them instead of copying; else it is 64.
        merge: how the spills are merged on closing; its ``verify`` concerns the target however it is made, and
            ``overwrite`` and ``durable`` also spills that are kept.
    """

    memory_bytes: int = 256 << 20
    spill_directories: Sequence[str | os.PathLike[str]] = ()
    keep_spills: bool = False
    spills_only: bool = False
    threads: int = field(default_factory=lambda: min(usable_cores(), 4))
    compression: Literal["lz4", "zstd"] | None = None
    alignment: int | Literal["auto"] = "auto"
    merge: MergeOptions = field(default_factory=MergeOptions)

    def __post_init__(self) -> None:
        if self.memory_bytes < MINIMUM_MEMORY_BYTES:
            raise ValueError(f"memory_bytes must be {MINIMUM_MEMORY_BYTES} (1 MiB) or more, not {self.memory_bytes}")
        if self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {self.threads}")
        if self.compression not in {None, "lz4", "zstd"}:
            raise ValueError(f"compression must be None, lz4 or zstd, not {self.compression!r}")
        if self.alignment != "auto":
            check_alignment(self.alignment)
        if isinstance(self.spill_directories, (str, os.PathLike)):
            raise TypeError(f"spill_directories takes several, in a list: not {self.spill_directories!r}")
        if self.merge.compact:
            raise ValueError("spills are not compacted: leave compact to the merge of map outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How to serve partitions over HTTP.

    Attributes:
        transfer_to: ``"auto"``: sendfile, and through a buffer what the kernel has no sendfile for; ``"on"``: sendfile,
            and an error where there is none; ``"off"``: through a buffer. TLS always takes a buffer. By default what
            ``SHUFFLE_TRANSFER_TO`` says, else ``"auto"``.
        token: bearer token that requests must have, or None. Without TLS it crosses the network readably.
        certificate, key: paths of PEM files: TLS. The key may stand in the certificate's file.
        client_authority: path of a PEM file of authorities; clients must have a certificate from one of them.
        connections: how many at a time; further ones are answered 503 and closed.
        sends: how many answers are being sent at a time; further ones wait.
        queue_seconds: for so long, and are then answered 503.
        bytes_in_flight: what all buffered sends together hold in memory, at most. sendfile holds nothing.
        header_seconds: for a request to arrive, for a TLS handshake, and for a connection to stay without a request.
        idle_seconds: for a client to take some more of an answer.
        grace_seconds: for answers to be finished when the server is stopped.
        open_files: how many are kept open that are not being sent.
    """

    transfer_to: TransferTo = field(default_factory=default_transfer_to)
    token: str | None = field(default=None, repr=False)
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    client_authority: str | os.PathLike[str] | None = None
    connections: int = 4096
    sends: int = 1024
    queue_seconds: float = 30
    bytes_in_flight: int = 64 << 20
    header_seconds: float = 30
    idle_seconds: float = 60
    grace_seconds: float = 30
    open_files: int = 256

    def __post_init__(self) -> None:
        _check_choice("transfer_to", self.transfer_to, get_args(TransferTo))
        for name in ("connections", "sends", "open_files"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("queue_seconds", "header_seconds", "idle_seconds", "grace_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be more than 0 and finite, not {getattr(self, name)}")
        if self.bytes_in_flight < MINIMUM_MEMORY_BYTES:
            raise ValueError(f"bytes_in_flight must be {MINIMUM_MEMORY_BYTES} or more, not {self.bytes_in_flight}")
        if self.token is not None and not self.token.strip():
            raise ValueError("the token is empty, which protects nothing; None serves without one")
        if self.certificate is None and (self.key is not None or self.client_authority is not None):
            raise ValueError("a key or an authority of clients is of no use without a certificate: give that, too")

    @property
    def buffer_bytes(self) -> int:
        """What one buffered send may have read: twice that is held while asyncio copies what a socket did not take."""
        return min(max(self.bytes_in_flight // (2 * self.sends), 1 << 10), 256 << 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How to fetch partitions from servers.

    Attributes:
        token: bearer token that the servers want, or None.
        authority: path of a PEM file with the authorities of servers' certificates; by default the system's.
        certificate, key: paths of PEM files: what this client is known by. The key may stand in the certificate's file.
        connections: how many requests are made at a time, each with its own connection.
        memory_bytes: what partitions take that have arrived, or are about to, and the one given out last. A single
            larger one is fetched alone.
        attempts: how often in a row a request may fail that got no byte further.
        backoff_seconds: wait after the first failure, doubled by each further one, up to 30 s; of that a random part
            from half on.
        timeout_seconds: for a connection to be made, and for some more of an answer to arrive.
    """

    token: str | None = field(default=None, repr=False)
    authority: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    connections: int = 4
    memory_bytes: int = 256 << 20
    attempts: int = 6
    backoff_seconds: float = 0.2
    timeout_seconds: float = 60

    def __post_init__(self) -> None:
        for name in ("connections", "attempts", "memory_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("backoff_seconds", "timeout_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be more than 0 and finite, not {getattr(self, name)}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
