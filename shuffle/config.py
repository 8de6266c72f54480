"""What callers can choose: frozen options whose defaults are written here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from shuffle.cores import usable_cores
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
    """

    transfer_to: TransferTo = field(default_factory=default_transfer_to)
    method: MethodName | Literal["auto"] = "auto"
    threads: int = field(default_factory=lambda: min(usable_cores(), 4))
    overwrite: bool = False
    durable: bool = False
    verify: bool = False
    delete_sources: bool = False

    def __post_init__(self) -> None:
        _check_choice("transfer_to", self.transfer_to, get_args(TransferTo))
        _check_choice("method", self.method, ("auto", *METHOD_NAMES))
        if self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {self.threads}")
        if self.transfer_to == "off" and self.method in KERNEL_METHODS:
            raise ValueError(f"method {self.method} copies inside the kernel, and transfer_to is off")


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
            rows too. Off: spills have no names and vanish with the process.
        threads: how many sort and join rows beside the caller's; by default one a usable core, at most 4. With 1
            the caller's thread does everything. The bytes written are the same.
        compression: of record batch bodies: None, ``"lz4"`` or ``"zstd"``.
        alignment: bytes, a power of two from 8 to 65536; every range starts at a multiple of it.
        merge: how the spills are merged on closing; its ``overwrite`` and ``durable`` concern the target.
    """

    memory_bytes: int = 256 << 20
    spill_directories: Sequence[str | os.PathLike[str]] = ()
    keep_spills: bool = False
    threads: int = field(default_factory=lambda: min(usable_cores(), 4))
    compression: Literal["lz4", "zstd"] | None = None
    alignment: int = 64
    merge: MergeOptions = field(default_factory=MergeOptions)

    def __post_init__(self) -> None:
        if self.memory_bytes < MINIMUM_MEMORY_BYTES:
            raise ValueError(f"memory_bytes must be {MINIMUM_MEMORY_BYTES} (1 MiB) or more, not {self.memory_bytes}")
        if self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {self.threads}")
        if self.compression not in {None, "lz4", "zstd"}:
            raise ValueError(f"compression must be None, lz4 or zstd, not {self.compression!r}")
        check_alignment(self.alignment)
        if isinstance(self.spill_directories, (str, os.PathLike)):
            raise TypeError(f"spill_directories takes several, in a list: not {self.spill_directories!r}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
