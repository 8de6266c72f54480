"""What a map task and a merge did, for people and programs. Pure."""
# PURE

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shuffle.wording import counted, sized
from spill_format.layout import PartitionLayout


@dataclass(frozen=True, slots=True)
class MethodUse:
    """What one copy method did: bytes moved, and the system calls that moved them."""

    byte_count: int
    system_calls: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """A method that stopped before its span was copied, and gave way to the next one.

    Attributes:
        method: the one that stopped.
        position: in the target, in bytes; from there on the next method copied.
        partition: that the position belongs to.
        reason: in words.
        errno: what the system call answered, or None.
    """

    method: str
    position: int
    partition: int
    reason: str
    errno: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapReport:
    """What a map task did.

    Attributes:
        target: the file published; None where only spills were asked for.
        partition_count: P.
        row_count: rows written.
        target_bytes: size of the target; 0 where there is none.
        row_bytes: size of the rows as Arrow counts it, dictionary-encoded columns as plain values.
        spills: names of the spills that were kept, in the order of their rows; empty where none were.
        spill_count: how many spills there were, the last rows included; 0 where everything fitted into memory.
        spilled_bytes: their sizes together.
        merge: what merging them did; None where there was nothing to merge.
        layout: offsets, rows and CRC-32C of each partition of the target; None without a target. Not in ``as_dict``.
        native: whether compiled functions took the rows apart (``shuffle.native``).
        page_faults: of the process meanwhile, without reading from a disk: pieces of memory that were new to it.
        seconds_partitioning: computing partition numbers.
        seconds_sorting: bringing rows into partition order and encoding them, summed over the threads that do.
        seconds_writing: writing what was encoded, spills and output alike.
        seconds_merging: merging spills.
        seconds: from the making of the writer to publication.
    """

    target: str | None
    partition_count: int
    row_count: int
    target_bytes: int
    row_bytes: int = 0
    peak_memory_bytes: int = 0
    spills: tuple[str, ...] = ()
    spill_count: int = 0
    spilled_bytes: int = 0
    merge: MergeReport | None = None
    layout: PartitionLayout | None = None
    native: bool = False
    page_faults: int = 0
    seconds_partitioning: float = 0.0
    seconds_sorting: float = 0.0
    seconds_writing: float = 0.0
    seconds_merging: float = 0.0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it, without the layout."""
        values = asdict(replace(self, layout=None))
        del values["layout"]
        return values

    def __str__(self) -> str:
        """The report in one line."""
        counts = f"{counted(self.row_count, 'row')} in {counted(self.partition_count, 'partition')}"
        spills = counted(self.spill_count, "spill")
        if self.target is None:
            names = dict.fromkeys((self.spills[0], self.spills[-1]))
            return f"{' … '.join(names)}: {counts}, {sized(self.spilled_bytes)} in {spills}, {self.seconds:.3f} s"
        made = f", {spills}" if self.spill_count else ""
        places = dict.fromkeys(spill.rpartition("/")[0] or "." for spill in self.spills)
        kept = f" kept in {', '.join(places)}" if places else ""
        return f"{self.target}: {counts}, {sized(self.target_bytes)}{made}{kept}, {self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compacting merge gained: record batches, and bytes of all ranges, in the sources and in the target."""

    batches_before: int
    batches_after: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class SkippedSource:
    """A damaged source that was left out: its path, and what is wrong with it."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did.

    Attributes:
        target: the file published.
        source_count, partition_count: S and P.
        row_count: rows in the target; None where the format does not say.
        range_count: ranges that were not empty.
        segment_count: ranges after adjacent ones were joined.
        byte_count: bytes of all ranges in the sources; unless it was compacted the target has as many, and a header, an
            index and a footer.
        target_bytes: size of the target.
        methods: what each copy method did, by its name.
        fallbacks: methods that stopped, and why.
        compaction: what a compacting merge gained; None for a merge that copied.
        rebuilt: why what was written first had to be discarded and rebuilt with buffered copying; None if it had not.
        verified: whether the target was read again and found right before it was published.
        repeated: whether the target was there already, as the result of this very merge, and nothing was written.
        skipped: damaged sources that were left out, where that was asked for.
        dry_run: whether this is what would be done: ``methods`` has the bytes that each is to copy first.
        seconds: from opening the first source to publication.
    """

    target: str
    source_count: int
    partition_count: int
    row_count: int | None
    range_count: int
    segment_count: int
    byte_count: int
    target_bytes: int
    methods: dict[str, MethodUse] = field(default_factory=dict)
    fallbacks: tuple[Fallback, ...] = ()
    compaction: Compaction | None = None
    rebuilt: str | None = None
    verified: bool = False
    repeated: bool = False
    skipped: tuple[SkippedSource, ...] = ()
    dry_run: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        """The report in one line."""
        parts = [counted(self.source_count, "source"), counted(self.partition_count, "partition")]
        if self.row_count is not None:
            parts.append(counted(self.row_count, "row"))
        size = sized(self.byte_count)
        if self.repeated:
            return f"{', '.join([*parts, size])}: merged already, nothing was done"
        if self.dry_run:
            uses = [f"{name} {sized(use.byte_count)}" for name, use in self.methods.items()]
            would = f"{', '.join([*parts, sized(self.target_bytes)])} would be made"
            return f"{would}: {', '.join(uses) or 'nothing to copy'}"
        rate = self.byte_count / max(self.seconds, 1e-9) / 2**20
        if (gain := self.compaction) is not None:
            done = (
                f"{gain.batches_before:,} record batches of {sized(gain.bytes_before)} became "
                f"{gain.batches_after:,} record batches of {sized(gain.bytes_after)}"
            )
        else:
            uses = [
                f"{name} {sized(use.byte_count)} in {use.system_calls:,} calls" for name, use in self.methods.items()
            ]
            done = ", ".join(uses) or "nothing to copy"
        return f"{', '.join([*parts, size])} in {self.seconds:.3f} s ({rate:,.0f} MiB/s): {done}"
