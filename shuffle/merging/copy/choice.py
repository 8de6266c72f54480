"""Which method copies which part of the target. Pure: the rules are one table, and what they look at is given.

The measurements behind the rules were made on Linux 6.18, two cores, hot page cache; ``tools/bench/merge.py`` repeats
them. Copying inside the kernel between local files moves page by page through a pipe, and gathering passes it on
ext4 at every size; what cannot be passed is sharing blocks, and a server that copies for itself.
"""
# PURE

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shuffle.merging.plan import MergePlan
from shuffle.options import METHOD_NAMES, MergeOptions, MethodName
from spill_format.layout import Int64Array

CLONED_BYTES = 128 << 10
"""Smaller segments are not worth a clone each: a call takes 25 to 30 µs, in which gathering moves about 100 KiB."""

Ladder = tuple[MethodName, ...]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a merge has around it.

    Attributes:
        shares_blocks: all sources and the target are on one file system whose kind can share blocks.
        block_bytes: of the target's file system.
        server_copies: they are on one file system that a server holds.
        sources_dirty: much of the sources is not on the disk yet; cloning would wait until it is.
        refused: methods that the kernel refused before between these devices.
    """

    shares_blocks: bool = False
    block_bytes: int = 4096
    server_copies: bool = False
    sources_dirty: bool = False
    refused: frozenset[MethodName] = frozenset()


class Span(NamedTuple):
    """A part of the target, ``[start, stop)``, and the methods to try on it, in order."""

    start: int
    stop: int
    ladder: Ladder


class Rule(NamedTuple):
    """One line of the table: what it is called, when it applies, what is tried, and the measurement behind it."""

    name: str
    applies: Callable[[MergeOptions, Surroundings], bool]
    ladder: Ladder
    because: str


RULES: tuple[Rule, ...] = (
    Rule(
        "off",
        lambda options, _: options.transfer_to == "off",
        ("gather", "buffered"),
        "transfer_to is off: no copying inside the kernel",
    ),
    Rule(
        "share",
        lambda options, around: around.shares_blocks and (options.syncs or not around.sources_dirty),
        ("clone", "gather", "buffered"),
        "512 MiB, clean sources: 0.04 s against 0.31 to 0.45 s; with fsync 0.38 s against 0.31 to 1.4 s, dirty or not",
    ),
    Rule(
        "paced",
        lambda options, _: options.limit_rate is not None,
        ("gather", "buffered"),
        "limit_rate is set: windows of some MiB are written evenly, where the kernel would copy in bursts",
    ),
    Rule(
        "server",
        lambda _, around: around.server_copies,
        ("copy_file_range", "gather", "buffered"),
        "NFS 4.2, CIFS and CephFS copy on the server, and nothing crosses the network",
    ),
    Rule(
        "kernel",
        lambda options, _: options.transfer_to == "on",
        ("copy_file_range", "sendfile", "buffered"),
        "transfer_to is on: the kernel copies, as Spark's spark.file.transferTo has it",
    ),
    Rule(
        "gather",
        lambda *_: True,
        ("gather", "buffered"),
        "ext4, ranges of 200 B to 640 KiB: 2 to 15 times as fast as copy_file_range; tmpfs, 640 KiB: as fast",
    ),
)
"""The first rule that applies is the choice of ``method="auto"``, less what the kernel refused before. Where it says
clone, that holds for segments of ``CLONED_BYTES`` or more that are aligned alike in source and target; for the rest the
next of its methods comes first."""


def choose(plan: MergePlan, options: MergeOptions, surroundings: Surroundings) -> list[Span]:
    """The spans that tile the plan's target, each with its ladder."""
    ladder = ladder_for(options, surroundings)
    if plan.byte_count == 0:
        return []
    if ladder[0] != "clone":
        return [Span(plan.start, plan.stop, ladder)]
    return _split_for_cloning(plan, ladder, surroundings.block_bytes)


def ladder_for(options: MergeOptions, surroundings: Surroundings) -> Ladder:
    """The methods to try, in order: those of the first rule that applies, or from the one asked for down."""
    if options.method != "auto":
        return METHOD_NAMES[METHOD_NAMES.index(options.method) :]
    chosen = next(rule.ladder for rule in RULES if rule.applies(options, surroundings))
    return tuple(method for method in chosen if method not in surroundings.refused)


def written_bytes(spans: Sequence[Span], surroundings: Surroundings) -> int:
    """Bytes that take room on the disk: what is cloned takes none, where it can be."""
    return sum(span.stop - span.start for span in spans if span.ladder[0] != "clone" or not surroundings.shares_blocks)


def _split_for_cloning(plan: MergePlan, ladder: Ladder, block_bytes: int) -> list[Span]:
    """Spans of whole blocks to clone, and between them what is ragged, small or shifted against its source."""
    starts, stops = _cloneable(plan, block_bytes)
    if not len(starts):
        return [Span(plan.start, plan.stop, ladder[1:])]
    # Neighbours that touch are one span.
    apart = starts[1:] != stops[:-1]
    starts, stops = starts[np.append(True, apart)], stops[np.append(apart, True)]
    spans = []
    reached = plan.start
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if reached < start:
            spans.append(Span(reached, start, ladder[1:]))
        spans.append(Span(start, stop, ladder))
        reached = stop
    if reached < plan.stop:
        spans.append(Span(reached, plan.stop, ladder[1:]))
    return spans


def _cloneable(plan: MergePlan, block_bytes: int) -> tuple[Int64Array, Int64Array]:
    """Starts and stops, in the target, of the whole blocks of each segment that can be cloned and is worth it."""
    large = np.flatnonzero(np.diff(plan.positions) >= CLONED_BYTES)  # few, or there is nothing that grows with all
    starts, stops = plan.positions[large], plan.positions[large + 1]
    whole_starts = -(-starts // block_bytes) * block_bytes
    whole_stops = stops // block_bytes * block_bytes
    alike = (starts - plan.source_offsets[large]) % block_bytes == 0
    chosen = alike & (whole_stops - whole_starts >= CLONED_BYTES)
    return whole_starts[chosen], whole_stops[chosen]
