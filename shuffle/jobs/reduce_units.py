"""Which partitions one reduce task is given: small neighbours together, a large one in slices. Pure."""

# PURE

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shuffle.jobs.descriptor import Sizes

_TASKS_A_SLOT = 4
"""So that the last tasks of a stage end at about the same time."""


class Unit(NamedTuple):
    """Partitions ``start`` … ``stop - 1``, or slice ``part`` of ``parts`` of a single one."""

    start: int
    stop: int
    part: int = 0
    parts: int = 1


def plan_units(sizes: Sizes, slots: int, unit_bytes: int, slice_bytes: int | None) -> list[Unit]:
    """Cut partitions into units, in their order.

    Args:
        sizes: bytes of each partition.
        slots: how many tasks run at once.
        unit_bytes: a unit of several partitions has at most so many bytes, and at most an even share of all.
        slice_bytes: a partition of more bytes is cut into slices of about so many; None: never.
    """
    partition_count = len(sizes)
    most_bytes = max(1, min(unit_bytes, -(-int(sizes.sum()) // (slots * _TASKS_A_SLOT))))
    most_partitions = max(1, -(-partition_count // (slots * _TASKS_A_SLOT)))
    units: list[Unit] = []
    start, held = 0, 0
    for partition, size in enumerate(sizes.tolist()):
        parts = 1 if slice_bytes is None else -(-size // slice_bytes)
        is_full = held + size > most_bytes and size > 0
        if partition > start and (is_full or parts > 1 or partition - start >= most_partitions):
            units.append(Unit(start, partition))
            start, held = partition, 0
        held += size
        if parts > 1:
            units += [Unit(partition, partition + 1, part, parts) for part in range(parts)]
            start, held = partition + 1, 0
    if start < partition_count:
        units.append(Unit(start, partition_count))
    return units


def skewed(sizes: Sizes, factor: float = 8) -> list[int]:
    """Partitions of more than ``factor`` times the mean size, the largest first."""
    limit = factor * float(sizes.mean()) if len(sizes) else 0.0
    large = np.flatnonzero(sizes > max(limit, _NEVER_SKEWED_BYTES))
    order = np.argsort(-sizes[large], kind="stable")
    return [int(number) for number in large[order]]


_NEVER_SKEWED_BYTES = 1 << 20
