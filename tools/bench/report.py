"""What every benchmark here shares: runs in turn, the machine described, results as a table, as JSON and as a chart.

Knows nothing of what is measured.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Run = Callable[[], float]
"""Does once what is measured, tidies up after itself, and returns the seconds that the measured part took."""


def alternate(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run, by name, one for each round.

    All take turns within a round, and each round begins with another one: what the machine does meanwhile, and what one
    leaves to the next, falls upon all alike.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(rounds):
        first = round_number % max(len(names), 1)
        for name in names[first:] + names[:first]:
            seconds[name].append(runs[name]())
    return seconds


def describe_machine(*distributions: str) -> dict[str, str]:
    """Hardware, kernel, date, and the versions of Python and of the distributions named; for a report's head.

    To be called before anything is measured: the load is then what others do, and should be about 0.
    """
    return {
        "processor": f"{_processor_name()}, {len(os.sched_getaffinity(0))} cores usable",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in distributions},
        "load": f"{os.getloadavg()[0]:.1f} processes, on average in the minute before",
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def _processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def file_system_of(directory: Path) -> str:
    """The type of the file system that a directory is on, in the kernel's words: ext4, xfs, tmpfs."""
    directory = directory.resolve()
    kind, depth = "unknown", -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount_point = Path(before.split()[4].encode().decode("unicode_escape"))  # a blank is written as \040
        # Of two on the same place the later one hides the other.
        if directory.is_relative_to(mount_point) and len(mount_point.parts) >= depth:
            kind, depth = after.split()[0], len(mount_point.parts)
    return kind


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose cells are words already."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_markdown(self) -> str:
        """The table as Markdown that is also aligned for reading as text: the first column left, the others right."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_padded(cells, widths) for cells in (self.columns, rule, *self.rows)]
        return "\n".join(lines)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"


def markdown_head(title: str, facts: Mapping[str, str]) -> str:
    """A heading, and what the figures below it depend on."""
    return f"# {title}\n\n" + "\n".join(f"- {name}: {value}" for name, value in facts.items())


def write_report(directory: Path, name: str, markdown: str, result: Mapping[str, Any]) -> list[Path]:
    """Write ``name.md`` and ``name.json`` into a directory, which is made if need be, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.md", directory / f"{name}.json"]
    paths[0].write_text(markdown + "\n")
    paths[1].write_text(json.dumps(result, indent=1) + "\n")
    return paths


def draw_bars(path: Path, title: str, unit: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """Draw a bar chart: for each group a bar of every series, labelled with its value, on a logarithmic axis.

    A value of 0 is left out. The path's extension says which kind of picture. Needs matplotlib, the extra ``plot``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * len(groups) + 2, 5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        middles = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        bars = axes.bar(middles, values, width, label=name)
        axes.bar_label(bars, [f"{value:.2g}" if value else "" for value in values], fontsize=7, padding=1)
    axes.set_yscale("log")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.legend(ncols=len(series), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
