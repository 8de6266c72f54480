"""What callers can choose: frozen options whose defaults are written here and nowhere else.

Functions and classes with options take them as one object, as keywords, or both: ``option_kinds.options_of`` makes one
object of these. A keyword class beside each options class tells type checkers the names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack, get_args

from shuffle.machine.cores import usable_cores
from shuffle.numbering import Numbers, parse_numbers
from shuffle.option_kinds import (
    Count,
    Flag,
    Memory,
    Size,
    check_choice,
    check_options,
    check_path,
    check_paths,
    check_size,
)
from spill_format.messages import check_alignment

TransferTo = Literal["auto", "on", "off"]
MethodName = Literal["clone", "copy_file_range", "sendfile", "gather", "buffered"]
Compression = Literal["lz4", "zstd"]
IoPriority = Literal["low", "idle"]
FilePath = Annotated[str | os.PathLike[str], check_path]
FilePaths = Annotated[Sequence[str | os.PathLike[str]], check_paths]

METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
"""Every copy method, in the order in which one gives way to the next."""
KERNEL_METHODS = METHOD_NAMES[:3]
"""The methods that copy inside the kernel."""
COMPACTION_MEMORY_BYTES = 256 << 20
"""The memory of a compacting merge that names none."""
TRANSFER_TO_VARIABLE = "SHUFFLE_TRANSFER_TO"


def default_transfer_to() -> TransferTo:
    """Return ``auto``, or what the environment variable ``SHUFFLE_TRANSFER_TO`` says instead.

    Raises:
        ValueError: the variable holds something else than auto, on or off.
    """
    value = os.environ.get(TRANSFER_TO_VARIABLE) or "auto"
    check_choice(f"the environment variable {TRANSFER_TO_VARIABLE}", value, get_args(TransferTo))
    return value  # type: ignore[return-value]  # checked in the line above


def default_threads() -> int:
    """Return one thread for each core that the process may use, at most 4."""
    return min(usable_cores(), 4)


class MergeKeywords(TypedDict, total=False):
    """The keywords of ``MergeOptions``."""

    transfer_to: TransferTo
    method: MethodName | Literal["auto"]
    threads: int
    overwrite: bool
    durable: bool
    verify: bool
    delete_sources: bool
    compact: bool
    memory_bytes: int | str | None
    mix_partitioners: bool
    partitions: str | Sequence[int] | Numbers | None
    skip_damaged: bool
    dry_run: bool
    limit_rate: int | str | None
    io_priority: IoPriority | None
    metrics: FilePath | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOptions:
    """How to merge.

    Attributes:
        transfer_to: copying inside the kernel. ``"auto"``: yes, and if a position assertion fails, discard what was
            written and rebuild it with buffered copying; ``"on"``: yes, and raise; ``"off"``: never. The default is
            the environment variable ``SHUFFLE_TRANSFER_TO``, else ``"auto"``.
        method: the copy method to begin with; ``"auto"`` chooses. A method that the kernel refuses gives way to the
            next one; ``buffered`` always works.
        threads: threads that copy at the same time, each its own part of the target. The default is one a usable
            core, at most 4.
        overwrite: replace an existing target, atomically. Off: an existing target is an error.
        durable: fsync the target and its directory before reporting success. Costs waiting for the disk.
        verify: read the target again before it is published, and compare it with the sources' checksums or, where
            sources have no checksums, with their bytes. Costs reading the target once.
        delete_sources: remove the sources once the target is published and fsynced, as by ``durable``. A source that
            changed meanwhile stays, and is an error.
        compact: decode, join the small record batches of each partition into batches of 1 MiB, and encode again. For
            targets that are read many times; costs decoding and encoding. The bytes do not depend on ``threads``.
        memory_bytes: memory of a compacting merge for rows that are read, decoded and encoded, 1 MiB or more; a number
            or text such as ``"256MiB"``, the default. The process takes some 64 MiB more with its libraries, and a
            record batch that is larger by itself is decoded whole. Only with ``compact``.
        mix_partitioners: merge files whose rows different partitioners placed. Off: such a mixture is an error.
        partitions: numbers of the partitions to merge, in a list or as text such as ``"3,5,8-"``. The target has as
            many partitions as the sources; the others are empty. None is all.
        skip_damaged: leave out sources whose structure is damaged, and name them in the report. As many of the spills
            that map tasks kept may be missing. Off: a damaged source is an error, and nothing is written.
        dry_run: look at sources, target and room, and report what would be done. Nothing is written.
        limit_rate: the most bytes to write each second, a number or text such as ``"200MiB"``; a compacting merge
            counts what it reads. None is no limit. Reading back for ``verify`` is not limited.
        io_priority: ``"low"`` or ``"idle"``: other processes come first at the disk, where its scheduler knows
            priorities.
        metrics: a file for Prometheus' textfile collector (``*.prom``), replaced when the merge ends or fails.
    """

    transfer_to: TransferTo = field(default_factory=default_transfer_to)
    method: MethodName | Literal["auto"] = "auto"
    threads: Count = field(default_factory=default_threads)
    overwrite: Flag = False
    durable: Flag = False
    verify: Flag = False
    delete_sources: Flag = False
    compact: Flag = False
    memory_bytes: Memory | None = None
    mix_partitioners: Flag = False
    partitions: Numbers | None = None
    skip_damaged: Flag = False
    dry_run: Flag = False
    limit_rate: Size | None = None
    io_priority: IoPriority | None = None
    metrics: FilePath | None = None

    if TYPE_CHECKING:

        def __init__(self, **keywords: Unpack[MergeKeywords]) -> None: ...

    def __post_init__(self) -> None:
        check_options(self)
        check_choice("transfer_to", self.transfer_to, get_args(TransferTo))
        check_choice("method", self.method, ("auto", *METHOD_NAMES))
        check_choice("io_priority", self.io_priority, (None, *get_args(IoPriority)))
        object.__setattr__(self, "partitions", _as_numbers(self.partitions))
        if self.partitions is not None and self.delete_sources:
            raise ValueError("delete_sources would remove rows of the partitions that are not merged: leave it off")
        if self.transfer_to == "off" and self.method in KERNEL_METHODS:
            raise ValueError(f"method {self.method} copies inside the kernel, and transfer_to is off")
        if self.compact and self.method != "auto":
            raise ValueError(f"a compacting merge decodes, so that nothing is copied with method {self.method}")
        if self.memory_bytes is not None and not self.compact:
            raise ValueError("memory_bytes is the memory of a compacting merge, and compact is off")

    @property
    def syncs(self) -> bool:
        """Whether the target is fsynced: sources go only when the target survives a power cut."""
        return self.durable or self.delete_sources


def _as_numbers(partitions: Any) -> Numbers | None:
    """The pairs that a list of numbers, a text, or pairs themselves mean."""
    if partitions is None or (isinstance(partitions, tuple) and all(isinstance(each, tuple) for each in partitions)):
        return partitions
    if not isinstance(partitions, str):
        if not partitions or not all(isinstance(each, int) and not isinstance(each, bool) for each in partitions):
            raise TypeError(f"partitions must be a list of numbers, or text as '3,5,8-', not {partitions!r}")
        partitions = ",".join(map(str, partitions))
    return parse_numbers(partitions)


class MapKeywords(TypedDict, total=False):
    """The keywords of ``MapOptions``."""

    memory_bytes: int | str
    spill_directories: Sequence[FilePath]
    keep_spills: bool
    spills_only: bool
    threads: int
    compression: Compression | None
    alignment: int | str
    overwrite: bool
    durable: bool
    verify: bool
    transfer_to: TransferTo
    method: MethodName | Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """How a map task partitions, spills and publishes.

    Attributes:
        memory_bytes: memory for rows that are held back, sorted and written, 1 MiB or more; a number or text such as
            ``"256MiB"``, the default. Rows are spilled before the budget is exceeded. The process takes some 64 MiB
            more, with its libraries and the batch that the caller holds.
        spill_directories: where spills lie until they are merged. Several directories, each perhaps on a disk of its
            own, are used in turn; the default is the target's directory. A directory that fails or is full is left,
            with a warning, while there is another. On the target's file system spills can be merged inside the kernel,
            and a single spill is published without copying.
        keep_spills: publish each spill as ``{target's stem}-{number}.spill.arrow`` in a spill directory, the last
            rows too. All spills get their names together, at the end; ``merge`` refuses a part of them. Earlier spills
            of such names are an error or, with ``overwrite``, removed first, so that a merge never adds their rows to
            the new ones. Off: spills have no names and vanish with the process.
        spills_only: keep the spills and write no target; a later merge, in the order of their numbers, makes it. An
            existing target does not matter. An input without rows makes one spill of empty partitions.
        threads: threads that sort and join rows beside the caller's. The default is one a usable core, at most 4. With
            1 the caller's thread does everything. The bytes written are the same.
        compression: compression of record batch bodies: None, ``"lz4"`` or ``"zstd"``.
        alignment: every range starts at a multiple of this size, a power of two from 8 to 65536. ``"auto"`` tries, when
            the first file is written, whether the directories' file system shares blocks. If so, and if padding costs
            under 2 %, alignment is the size of its blocks, so that merges share them instead of copying; else it is 64.
        overwrite: replace an existing target, atomically, and remove earlier spills of the same names.
        durable: fsync the target, the kept spills and their directories before reporting success.
        verify: read the target again before it is published, and check it.
        transfer_to, method: how spills are merged, as for ``MergeOptions``.
    """

    memory_bytes: Memory = 256 << 20
    spill_directories: FilePaths = ()
    keep_spills: Flag = False
    spills_only: Flag = False
    threads: Count = field(default_factory=default_threads)
    compression: Compression | None = None
    alignment: int | Literal["auto"] = "auto"
    overwrite: Flag = False
    durable: Flag = False
    verify: Flag = False
    transfer_to: TransferTo = field(default_factory=default_transfer_to)
    method: MethodName | Literal["auto"] = "auto"

    if TYPE_CHECKING:

        def __init__(self, **keywords: Unpack[MapKeywords]) -> None: ...

    def __post_init__(self) -> None:
        check_options(self)
        if self.compression not in (None, "lz4", "zstd"):
            raise ValueError(f"compression must be None, lz4 or zstd, not {self.compression!r}")
        if self.alignment != "auto":
            object.__setattr__(self, "alignment", check_size("alignment", self.alignment))
            check_alignment(self.alignment)
        if self.spills_only and (self.verify or self.method != "auto"):
            name = "verify" if self.verify else "method"
            raise ValueError(f"spills_only makes no target, so {name} has nothing to do: leave it to the merge")
        _ = self.merge  # refuses what the merge of the spills would

    @property
    def merge(self) -> MergeOptions:
        """How the spills are merged."""
        return MergeOptions(
            transfer_to=self.transfer_to,
            method=self.method,
            threads=self.threads,
            overwrite=self.overwrite,
            durable=self.durable,
            verify=self.verify,
        )
