"""Spills that a map task kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spill_format import SpillFile
from spill_format.spill_set import SpillSet, encode_membership
from tests.helpers.spills import random_spill


def kept_spills(directory: Path, numbers: Iterable[int] = range(3), total: int = 3) -> list[Path]:
    """Write these spills of so many."""
    paths = [random_spill(directory / f"{number}.spill.arrow", [3, 0, 50]) for number in numbers]
    for number, path in zip(numbers, paths, strict=True):
        with SpillFile(path) as file:
            place = file.membership_offset
        with path.open("r+b") as writer:
            writer.seek(place)
            writer.write(encode_membership(SpillSet(b"a map task's set", number, total)))
    return paths


def said_of(given: Iterable[int], total: int = 3) -> str:
    """What is said where these spills are all that there are of so many."""
    count = len(set(given))
    there = f"{count} {'is' if count == 1 else 'are'} here"
    missing = min(set(range(total)) - set(given))
    return f"{total} spills of a map task, of which {there}: number {missing} is missing"
