"""Tells which messages found in a damaged file are the file's own, and counts each message once.

Bytes may stand in a file twice: whole files inside values, blocks that were written to two places, a file that was
partly overwritten by another. Nothing here reads a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from spill_format.index import PartitionIndex
from spill_format.message_scan import FoundMessage, Scan, ascending
from spill_format.range_checksums import CRC32C


def own_messages(scan: Scan, start: int | None) -> list[FoundMessage]:
    """Choose the whole messages that are the file's own, of all messages that were found; partitions ascend.

    Messages that touch form a run, and a run is one file's. It is another file's, inside a value or left on the disk,
    where that file's header precedes it or that file's end follows it; and where it lies inside the body of a message
    that says how long it is. Equal messages count once, unless all that was found is one run from the header on.

    Args:
        scan: all messages that were found.
        start: offset of the first range; None if the header is lost.
    """
    runs = list(_runs(scan.messages))
    own: list[FoundMessage] = []
    body_end = 0  # of the last own message of which only the body is damaged
    for run in runs:
        first, last = run[0], run[-1]
        is_another_files = first.start in scan.header_ends or last.stop in scan.inner_ends
        is_inside_a_body = last.stop <= body_end and last.stop != scan.ranges_end
        if first.start != start and (is_another_files or is_inside_a_body):
            continue
        own += [message for message in run if message.is_whole]
        body_end = max([body_end, *(message.stop for message in run if not message.is_whole)])
    own = ascending(own)
    return own if len(runs) == 1 and runs[0][0].start == start else _once(own)


def indexed_messages(messages: Sequence[FoundMessage], index: PartitionIndex) -> list[FoundMessage]:
    """Choose the messages that an index knows, each once.

    If the checksum of a range is right, its messages are the written messages. Otherwise no more messages of
    each size are chosen than the index has, and equal messages count once if enough messages remain.

    Args:
        messages: whole messages, partitions ascending.
        index: index of the file.
    """
    sound = sound_ranges(messages, index)
    first_messages = index.first_messages
    expected = np.column_stack((index.metadata_lengths, index.body_lengths))
    kept: list[FoundMessage] = []
    for partition, group in groupby(messages, key=lambda message: message.partition):
        found = list(group)
        if not sound[partition]:
            sizes = expected[slice(*first_messages[partition : partition + 2])].tolist()
            found = _at_most(_once(found) if len(found) >= len(sizes) else found, map(tuple, sizes))
        kept += found
    return kept


def sound_ranges(messages: Sequence[FoundMessage], index: PartitionIndex) -> npt.NDArray[np.bool_]:
    """Compare the messages of each range, partitions ascending, with the checksums in the index: ``bool[P]``."""
    assert index.layout.crc32c is not None  # an index always has them
    fields = np.array(
        [(m.partition, m.metadata_crc32c, m.body_crc32c, m.body_length, m.stop - m.start) for m in messages]
    ).reshape(-1, 5)
    partitions, body_lengths, lengths = fields[:, 0], fields[:, 3], fields[:, 4]
    checksums = CRC32C.append(fields[:, 1].astype(np.uint32), fields[:, 2].astype(np.uint32), body_lengths)
    borders = np.searchsorted(partitions, np.arange(index.layout.partition_count + 1))
    ranges = np.zeros(index.layout.partition_count, dtype=np.uint32)
    for place in range(int(np.diff(borders).max(initial=0))):  # the first message of each range, then the second, …
        chosen = np.flatnonzero(np.diff(borders) > place)
        next_messages = borders[chosen] + place
        ranges[chosen] = CRC32C.append(ranges[chosen], checksums[next_messages], lengths[next_messages])
    sound: npt.NDArray[np.bool_] = ranges == index.layout.crc32c
    sound &= np.diff(borders) == np.diff(index.first_messages)
    return sound


def _runs(messages: Iterable[FoundMessage]) -> Iterable[list[FoundMessage]]:
    """Yield runs of messages: each begins where the message before ends, and partitions ascend."""
    run: list[FoundMessage] = []
    for message in messages:
        if run and (run[-1].stop != message.start or run[-1].partition > message.partition):
            yield run
            run = []
        run.append(message)
    if run:
        yield run


def _once(messages: Iterable[FoundMessage]) -> list[FoundMessage]:
    """Return the first of equal messages."""
    return list({message.content: message for message in reversed(list(messages))}.values())[::-1]


def _at_most(messages: Iterable[FoundMessage], sizes: Iterable[tuple[int, ...]]) -> list[FoundMessage]:
    """Return the first messages of each size, up to a number for each size."""
    left = Counter(sizes)
    kept = []
    for message in messages:
        size = message.metadata_length, message.body_length
        if left[size]:
            left[size] -= 1
            kept.append(message)
    return kept
