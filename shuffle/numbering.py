"""Numbers of partitions, and of what else is numbered: ``3``, ``3-6`` and ``3,5,8-`` as half-open pairs."""
# PURE

from __future__ import annotations

import re
from collections.abc import Sequence

Numbers = Sequence[tuple[int, int | None]]
"""Pairs ``(start, stop)``, ascending and apart from each other; the last stop may be None, for all from there on."""

_PART = re.compile(r"(\d{1,18})(?:(-)(\d{1,18})?)?", re.ASCII)


def parse_numbers(text: str, noun: str = "partition") -> Numbers:
    """Parse numbers: ``3-6`` includes 6, ``8-`` goes on to the last one.

    Raises:
        ValueError: the text is something else.
    """
    pairs: list[tuple[int, int | None]] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{text!r} is neither a {noun}, as 3, nor several, as 3-6, 8- or 3,5,8-")
        start, dash, last = int(match[1]), match[2], match[3]
        stop = None if dash and not last else int(last or start) + 1
        if stop is not None and stop <= start:
            raise ValueError(f"{part!r} ends before it starts")
        pairs.append((start, stop))
    joined: list[tuple[int, int | None]] = []
    for start, stop in sorted(pairs, key=lambda pair: pair[0]):
        before, end = joined[-1] if joined else (0, -1)
        if end is not None and start > end:
            joined.append((start, stop))
        else:
            joined[-1] = before, None if end is None or stop is None else max(end, stop)
    return tuple(joined)


def is_among(number: int, numbers: Numbers | None) -> bool:
    """Tell whether a number is among numbers; None means all."""
    return numbers is None or any(start <= number and (stop is None or number < stop) for start, stop in numbers)


def numbers_within(numbers: Numbers | None, count: int, of: str, noun: str = "partition") -> list[range]:
    """Return the numbers that exist, from 0 to ``count - 1``: the given ones, or all.

    Args:
        numbers: pairs, or None for all.
        count: how many there are.
        of: what has them, for the error.
        noun: what is numbered.

    Raises:
        ValueError: one of them does not exist.
    """
    if numbers is None:
        return [range(count)]
    found = [range(start, count if stop is None else stop) for start, stop in numbers]
    if missing := [max(each.start, count) for each in found if each.start >= count or each.stop > count]:
        there = f"its {noun}s are 0 to {count - 1}" if count else "it has none"
        raise ValueError(f"{of} has no {noun} {missing[0]}: {there}")
    return found
