"""Numbers and tables as people read them, for the commands and for the one-line texts of results. Pure."""
# PURE

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_BARS = " ▁▂▃▄▅▆▇█"


def sized(byte_count: float) -> str:
    """Write a number of bytes with the largest unit that leaves it at least 1: ``17.4 MiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if byte_count < 1024:
            return f"{byte_count:.0f} {unit}" if unit == "bytes" else f"{byte_count:.1f} {unit}"
        byte_count /= 1024
    return f"{byte_count:.1f} TiB"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 partition``, ``6,001,215 rows``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}es" if noun.endswith("ch") else f"{count:,} {noun}s"


def as_ranges(numbers: Sequence[int], at_most: int = 10) -> str:
    """Write ascending numbers with runs put together: ``0-4, 7, 9-12``; the runs after ``at_most`` as ``…``."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        elif len(runs) > at_most:
            break
        else:
            runs.append((number, number))
    words = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:at_most]]
    return ", ".join([*words, "…"] if len(runs) > at_most else words)


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """Write rows of cells as lines of columns: the columns numbered in ``left`` flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def sparkline(values: Sequence[int]) -> str:
    """Draw values, none negative, as a line of bars: the largest is a full block, and only 0 is blank."""
    largest = max(values, default=0)
    # Rounded up, so that what is small beside the largest is still not nothing.
    return "".join(_BARS[-(-value * (len(_BARS) - 1) // largest)] if value else _BARS[0] for value in values)


def as_json_text(value: dict[str, Any]) -> str:
    """Write one JSON object, for people as well as programs."""
    return json.dumps(value, indent=2, allow_nan=False)
