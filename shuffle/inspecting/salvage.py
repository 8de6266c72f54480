"""Recovering what is whole in damaged Arrow files: look, say what is lost, write a new file with index and footer.

Nothing here prints. Looking is separate from writing, since it also tells which partitions of a damaged file are sound.
FORMAT.md section 10 is what is relied on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from shuffle.inspecting.checking import Progress
from shuffle.inspecting.losses import Loss, gaps_between, losses_by_index, losses_by_scan
from shuffle.inspecting.places import indexed_messages, own_messages
from shuffle.wording import counted, sized
from spill_format.encoder import SpillEncoder
from spill_format.errors import ChecksumError, CorruptError, TargetExistsError, naming
from spill_format.message_scan import FoundMessage, MessageReader, Scan
from spill_format.messages import (
    FILE_START,
    MAXIMUM_ALIGNMENT,
    SEAL_LENGTH,
    find_defect,
    metadata_length_of,
)
from spill_format.partitioner import PartitionerDescription, read_partitioner
from spill_format.range_check import check_decodable
from spill_format.salvage import Description, describe_damaged
from spill_format.spill_set import SpillSet
from spill_format.storage.local import open_regular, read_exactly
from spill_format.storage.publication import PendingFile, open_pending
from spill_format.undecodable import UNDECODABLE, is_lack_of_memory
from spill_format.writer import write_membership

_LISTED_LOSSES = 20
_MOST_PARTITIONS = 1 << 22
"""The most partitions of a file without its index. Each takes memory, and a damaged header may promise 2³¹ of them."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Salvage:
    """What can be recovered of a file, and what cannot.

    Attributes:
        path: as it was given.
        byte_count: size of the file.
        stored_schema, partition_count, alignment: of the file, and of one made from it.
        lost_parts: which of ``"header"``, ``"index"``, ``"footer"`` are damaged or missing; they are made anew.
        messages: the record batches that are whole, in file order, partitions ascending.
        damaged_places: ``(start, stop)`` in bytes of what lies among the ranges and is no whole record batch.
        losses: which partitions lost what, ascending; empty where everything is known to be there.
        partitioner: what placed the rows, or None where it is lost or was never known.
        spill_set: which of a map task's spills the file is, or None where that is lost or it is none.
        target: the new file, or None where none was made.
    """

    path: str
    byte_count: int
    stored_schema: pa.Schema
    partition_count: int
    alignment: int
    lost_parts: tuple[str, ...]
    messages: Sequence[FoundMessage]
    damaged_places: tuple[tuple[int, int], ...]
    losses: tuple[Loss, ...]
    partitioner: PartitionerDescription | None = None
    spill_set: SpillSet | None = None
    target: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is lost."""
        return not self.losses

    @property
    def row_count(self) -> int:
        """Rows that are recovered."""
        return sum(message.row_count for message in self.messages)

    @property
    def recovered_bytes(self) -> int:
        """Bytes of the record batches that are recovered."""
        return sum(message.stop - message.start for message in self.messages)

    @property
    def recovered(self) -> str:
        """What is recovered, in words."""
        rows = f"{counted(self.row_count, 'row')} in {counted(len(self.messages), 'batch')}"
        parts = f"; made anew: {', '.join(self.lost_parts)}" if self.lost_parts else ""
        return f"{rows}, {sized(self.recovered_bytes)}{parts}"

    @property
    def lost(self) -> list[str]:
        """What is lost, in words: a line for each loss, as far as they are not too many."""
        lines = [str(loss) for loss in self.losses[:_LISTED_LOSSES]]
        if further := len(self.losses) - len(lines):
            rows = sum(loss.row_count or 0 for loss in self.losses[_LISTED_LOSSES:])
            lines.append(f"{further:,} further partitions lost {counted(rows, 'row')} or more (--json lists all)")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The salvage as JSON has it."""
        return {
            "path": self.path,
            "target": self.target,
            "byte_count": self.byte_count,
            "partition_count": self.partition_count,
            "recovered_row_count": self.row_count,
            "recovered_batch_count": len(self.messages),
            "recovered_bytes": self.recovered_bytes,
            "is_complete": self.is_complete,
            "lost_parts": list(self.lost_parts),
            "losses": [loss.as_dict() for loss in self.losses],
            "damaged_places": [{"start": start, "stop": stop} for start, stop in self.damaged_places],
        }


def repair(path: str, target: str, *, overwrite: bool, durable: bool, progress: Progress) -> Salvage:
    """See ``Kind.repair``. Every whole record batch is kept; memory is needed for a few of them."""
    if os.path.exists(target) and os.path.samefile(path, target):
        raise TargetExistsError("a file is never repaired in place", path=target, advice="choose another name")
    with open_pending(target, overwrite=overwrite, durable=durable) as pending, _opened(path) as descriptor:
        found = _salvage(descriptor, path, progress)
        if not found.messages and found.losses:
            raise CorruptError("nothing can be recovered: no record batch is whole", path=path)
        _write(found, descriptor, pending, progress)
        pending.publish()
    return replace(found, target=target)


def salvage(path: str, progress: Progress = lambda _count: None) -> Salvage:
    """Find what can be recovered of a file, and write nothing.

    Raises:
        CorruptError: the schema is lost.
        NotPartitionedError: an Arrow file that was not written partitioned.
        VersionError: written by a newer major version of the format.
        SpillError: another kind of file.
        OSError: it cannot be read.
    """
    with _opened(path) as descriptor:
        return _salvage(descriptor, path, progress)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = open_regular(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _salvage(descriptor: int, path: str, progress: Progress) -> Salvage:
    byte_count = os.fstat(descriptor).st_size
    description = describe_damaged(descriptor, path, byte_count)

    is_decodable = _decoder(description.stored_schema)
    reader = MessageReader(descriptor, path, byte_count, description.partition_count, is_decodable, progress)
    start = description.first_offset or len(FILE_START)
    scan, messages = _scan(reader, description)
    partition_count = description.partition_count or 1 + max((m.partition for m in scan.messages), default=0)
    old = description.old_index
    has_index = old is not None and old.index.layout.partition_count == partition_count
    if partition_count > _MOST_PARTITIONS and not has_index:
        problem = "too many partitions to be found again without their index"
        raise CorruptError(problem, path=path, expected=f"at most {_MOST_PARTITIONS}", actual=partition_count)
    # Without an end everything up to the end of the file may have been record batches.
    places = gaps_between(messages, start, byte_count if scan.ranges_end is None else scan.ranges_end)
    partitioner = spill_set = None
    if old is not None:
        losses = losses_by_index(messages, old.index)
        spill_set = old.spill_set
        if has_index:
            partitioner = read_partitioner(old.index.partitioner, path)
    else:
        losses = losses_by_scan(scan, messages, places, partition_count)
    return Salvage(
        path=path,
        byte_count=byte_count,
        stored_schema=description.stored_schema,
        partition_count=partition_count,
        alignment=description.alignment or _alignment_of(messages),
        lost_parts=description.lost_parts,
        messages=messages,
        damaged_places=tuple(places),
        losses=tuple(losses),
        partitioner=partitioner,
        spill_set=spill_set,
    )


def _decoder(schema: pa.Schema) -> Callable[[bytes], bool]:
    def is_decodable(message: bytes) -> bool:
        try:
            check_decodable(message, metadata_length_of(message), schema)
        except MemoryError as error:
            if is_lack_of_memory(error, len(message)):
                raise
            return False
        except UNDECODABLE:
            return False
        return True

    return is_decodable


def _scan(reader: MessageReader, description: Description) -> tuple[Scan, list[FoundMessage]]:
    """The messages where a sound index expects them, else wherever they are; and which of them are the file's own."""
    old_index = description.old_index
    if old_index is None or not old_index.is_in_place:
        # Where the header is lost, the first range's place is hearsay.
        start = None if "header" in description.lost_parts else description.first_offset
        scan = reader.scan(start or len(FILE_START))
        own = own_messages(scan, start)
        return scan, own if old_index is None else indexed_messages(own, old_index.index)
    index = old_index.index
    offsets = index.message_offsets.tolist()
    partitions = np.repeat(np.arange(index.layout.partition_count), np.diff(index.first_messages)).tolist()
    expected = dict(zip(offsets[:-1], zip(offsets[1:], partitions, strict=True), strict=True))
    found = [m for m in reader.at_each(offsets[:-1]) if (m.stop, m.partition) == expected[m.start]]
    return Scan(found, offsets[-1]), indexed_messages([m for m in found if m.is_whole], index)


def _alignment_of(messages: Sequence[FoundMessage]) -> int:
    """The largest alignment that the ranges of a file have that does not say which."""
    borders = [
        message.start
        for before, message in zip((None, *messages), messages, strict=False)
        if before is None or before.partition < message.partition
    ]
    return math.gcd(MAXIMUM_ALIGNMENT, *borders)


def _write(found: Salvage, descriptor: int, target: PendingFile, progress: Progress) -> None:
    with naming(target.path):
        encoder = SpillEncoder(
            target, found.stored_schema, found.partition_count, None, found.alignment, partitioner=found.partitioner
        )
        for message in found.messages:
            content = memoryview(read_exactly(descriptor, message.start, message.stop - message.start, found.path))
            metadata, body = content[: message.metadata_length], content[message.metadata_length :]
            if find_defect(content, message.metadata_length, message.partition) is not None:
                raise ChecksumError(
                    "the record batch changed while the file was repaired",
                    path=found.path,
                    partition=message.partition,
                    offset=message.start,
                    advice="repair a copy that nobody writes to",
                )
            encoder.write_message(message.partition, message.row_count, metadata[:-SEAL_LENGTH], (body,))
            progress(len(content))
        encoder.finish()
        if found.spill_set is not None:
            write_membership(target, found.spill_set)
