#!/usr/bin/env python3
"""Measures merging against Spark's, against each single copy method, and against the bound of writing one hot buffer.

Cached sources, no fsync, contestants in turn. The shapes and what is asked of them are in ``shapes.py``, the
contestants in ``contest.py``; here are the places, the comparison and the command.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, it finds tools.bench

from shuffle import MergeOptions
from shuffle.options import METHOD_NAMES, MethodName
from shuffle.testing.file_systems import CannotMountError, loop_mounted, tmpfs_mounted
from tools.bench.contest import BenchmarkError, Contest, NotApplicableError
from tools.bench.report import (
    Table,
    alternate,
    describe_machine,
    draw_bars,
    file_system_of,
    markdown_head,
    write_report,
)
from tools.bench.shapes import SHAPES, Shape, write_sources
from tools.bench.spark import SparkError, SparkMerger

ROOT = Path(__file__).resolve().parents[2]
AUTO_TOLERANCE = 1.10  # auto may take so much longer than the best single method
START_UP_TARGET_SECONDS = 0.35
START_UP_RUNS = 11
WARM_UP_MERGES = 8  # of 20,000 ranges each: the JVM compiles what ran 10,000 times
PREAMBLE = """\
Sources in the page cache and clean, nothing fsynced, contestants in turn, medians; before each run a file as large as
the target is written and deleted, so that none waits for memory that a host has taken back. Ours is `merge()` in a
Python that has started, from opening the sources to publication; Spark is its `Utils.copyFileStreamNIO` in a warm JVM;
the bound writes one hot 1 MiB buffer into a new file of the same size. "auto/best" may be 1.1 at most."""
FILES_AT_A_TIME = 3  # of the sources' size: themselves, the target to compare with, the target of the moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What was measured of one shape; a contestant's name is ``ours``, ``spark``, ``bound`` or a copy method's."""

    shape: Shape
    file_system: str
    byte_count: int
    seconds: dict[str, list[float]]
    methods_of_auto: tuple[str, ...]
    left_out: dict[str, str]

    def median(self, name: str) -> float:
        """Of a contestant's seconds."""
        return median(self.seconds[name])

    @property
    def to_spark(self) -> float:
        """How many times faster than Spark."""
        return self.median("spark") / self.median("ours")

    @property
    def to_bound(self) -> float:
        """What part of the bound's rate."""
        return self.median("bound") / self.median("ours")

    @property
    def best_method(self) -> MethodName:
        """The fastest of the single methods."""
        return min((name for name in METHOD_NAMES if name in self.seconds), key=self.median)

    @property
    def to_best(self) -> float:
        """How much longer ``auto`` takes than the best single method."""
        return self.median("ours") / self.median(self.best_method)

    @property
    def is_met(self) -> bool:
        """Whether all that is asked of the shape is so."""
        return (
            self.to_spark >= self.shape.target_to_spark
            and self.to_bound >= (self.shape.target_to_bound or 0)
            and self.to_best <= AUTO_TOLERANCE
        )

    def as_row(self) -> list[str]:
        """The cell as the table has it."""
        return [
            self.shape.dimensions,
            self.file_system,
            f"{self.byte_count / 2**20:.0f}",
            *(f"{self.median(name):.3f}" for name in ("spark", "ours", "bound")),
            f"{self.to_spark:.1f}",
            f"≥ {self.shape.target_to_spark:g}",
            f"{self.to_bound:.2f}",
            f"≥ {self.shape.target_to_bound:g}" if self.shape.target_to_bound else "",
            "+".join(self.methods_of_auto),
            self.best_method,
            f"{self.to_best:.2f}",
            "yes" if self.is_met else "no",
        ]

    def as_dict(self) -> dict[str, Any]:
        """The cell as JSON has it, every single time included."""
        return {
            **asdict(self),
            "medians": {name: self.median(name) for name in self.seconds},
            "to_spark": self.to_spark,
            "to_bound": self.to_bound,
            "best_method": self.best_method,
            "to_best": self.to_best,
            "met": self.is_met,
        }


COLUMNS = (
    "shape", "file system", "MiB", "Spark s", "ours s", "bound s", "× Spark", "target", "× bound", "target",
    "auto chose", "best method", "auto/best", "met",
)  # fmt: skip


def measure(shape: Shape, directory: Path, spark: SparkMerger, rounds: int) -> Cell:
    """Measure one shape.

    Raises:
        NotApplicableError: this machine cannot.
        BenchmarkError: a contestant wrote other bytes.
    """
    with _place(shape, directory) as place:
        sources = write_sources(shape, place)
        os.sync()  # else the disk is still busy with them, and a clone would have to wait for it
        runs, left_out, chosen = Contest(sources, place, directory, spark).runs()
        return Cell(
            shape=shape,
            file_system=file_system_of(place),
            byte_count=sources.byte_count,
            seconds=alternate(runs, rounds),
            methods_of_auto=chosen,
            left_out=left_out,
        )


@contextmanager
def _place(shape: Shape, directory: Path) -> Iterator[Path]:
    """An empty directory on the shape's file system, with everything in it deleted afterwards."""
    size_mib = (FILES_AT_A_TIME * shape.byte_count >> 20) + 512
    free_mib = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize >> 20
    if free_mib < size_mib:
        raise NotApplicableError(f"{directory} has {free_mib} MiB free, {size_mib} MiB are needed")
    try:
        if shape.place == "disk":
            with tempfile.TemporaryDirectory(dir=directory) as place:
                yield Path(place)
        else:
            mounted = loop_mounted("xfs", size_mib) if shape.place == "xfs" else tmpfs_mounted(size_mib)
            with mounted as place_mounted:
                yield place_mounted
    except CannotMountError as error:
        raise NotApplicableError(str(error)) from error


def warm_up(spark: SparkMerger, directory: Path) -> None:
    """Let the JVM compile what it will run."""
    shape = Shape(
        name="warm-up", source_count=20, partition_count=1000, range_bytes=200, form="opaque", target_to_spark=0
    )
    with tempfile.TemporaryDirectory(dir=directory) as place:
        sources = write_sources(shape, Path(place))
        for _ in range(WARM_UP_MERGES):
            target = Path(place, "merged")
            spark.merge(sources.offsets_path, target, sources.paths)
            target.unlink()


def measure_start_up(directory: Path) -> list[float]:
    """Seconds that ``shuffle-merge`` takes for 3 small spills, from starting the process to its end."""
    shape = Shape(name="start-up", source_count=3, partition_count=10, range_bytes=4096, target_to_spark=0)
    # What the installed script does, whether or not it is installed.
    program = "import sys; from shuffle.cli import merge_main; sys.exit(merge_main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    seconds = []
    with tempfile.TemporaryDirectory(dir=directory) as place:
        sources = write_sources(shape, Path(place))
        target = Path(place, "merged.arrow")
        command = [sys.executable, "-c", program, *map(str, sources.paths), "-o", str(target), "--quiet"]
        for _ in range(START_UP_RUNS + 1):
            started = time.perf_counter()
            subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
            target.unlink()
    return seconds[1:]  # the first one read Python's modules from the disk


def run_benchmark(arguments: argparse.Namespace, directory: Path) -> tuple[list[Cell], list[float], dict[str, str]]:
    """The cells of the shapes asked for, the seconds of starting up, and what was left out, and why."""
    start_up = measure_start_up(directory)
    cells = []
    left_out = {}
    with SparkMerger(directory / "jvm.log") as spark:
        warm_up(spark, directory)
        for name in arguments.shapes:
            shape = SHAPES[name].reduced() if arguments.quick else SHAPES[name]
            started = time.perf_counter()
            try:
                cells.append(measure(shape, directory, spark, arguments.rounds))
            except NotApplicableError as error:
                left_out[name] = str(error)
            print(f"{name}: {left_out.get(name, 'done')} ({time.perf_counter() - started:.0f} s)", file=sys.stderr)
    return cells, start_up, left_out


def as_markdown(facts: dict[str, str], cells: Sequence[Cell], start_up: Sequence[float], notes: Sequence[str]) -> str:
    """The whole report, for reading."""
    start_up_seconds = median(start_up)
    start_up_row = [
        f"{start_up_seconds:.3f}",
        f"< {START_UP_TARGET_SECONDS}",
        "yes" if start_up_seconds < START_UP_TARGET_SECONDS else "no",
    ]
    singles = [name for name in METHOD_NAMES if any(name in cell.seconds for cell in cells)]
    single_rows = [
        [f"{cell.shape.dimensions}, {cell.file_system}"]
        + [f"{cell.median(name):.3f}" if name in cell.seconds else "–" for name in ("ours", *singles)]
        for cell in cells
    ]
    return "\n\n".join(
        [
            markdown_head("Merging, against Spark and against the machine", facts),
            PREAMBLE,
            Table(COLUMNS, [cell.as_row() for cell in cells]).as_markdown(),
            "Seconds of each single method:",
            Table(("shape", "auto", *singles), single_rows).as_markdown(),
            "`shuffle-merge` on 3 small spills, the whole process:",
            Table(("seconds", "target", "met"), [start_up_row]).as_markdown(),
            *(["\n".join(f"- {note}" for note in notes)] if notes else []),
        ]
    )


def report(
    arguments: argparse.Namespace,
    facts: dict[str, str],
    cells: Sequence[Cell],
    start_up: Sequence[float],
    left_out: dict[str, str],
) -> None:
    """Print the table, and write the files asked for."""
    notes = [f"{name} was left out: {reason}" for name, reason in left_out.items()]
    markdown = as_markdown(facts, cells, start_up, notes)
    print(markdown)
    if arguments.output:
        result = {
            "facts": facts,
            "cells": [cell.as_dict() for cell in cells],
            "start_up": {"seconds": start_up, "median": median(start_up), "target": START_UP_TARGET_SECONDS},
            "left_out": left_out,
        }
        write_report(arguments.output, "merge", markdown, result)
    if arguments.plot:
        rates = {
            label: [cell.byte_count / 2**30 / cell.median(name) for cell in cells]
            for label, name in (("bound", "bound"), ("ours", "ours"), ("Spark", "spark"))
        }
        groups = [f"{cell.shape.dimensions.replace(' (', chr(10) + '(')}\n{cell.file_system}" for cell in cells]
        draw_bars(arguments.plot, "Merging, cached sources", "GiB/s", groups, rates)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="tools/bench/merge.py",
        description="Measure merging against Spark's, each single copy method, and the bound. Needs the extra bench, "
        "a Java runtime, and root for the file systems it mounts; what cannot be measured is left out, and said.",
    )
    parser.add_argument("--quick", action="store_true", help="an eighth of the partitions, 3 rounds: under a minute")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="by default all")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 5)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write merge.md and merge.json there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a bar chart; needs the extra plot")
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where to work (default: the directory for temporary files, or the current one where that is in memory)",
    )
    chosen = parser.parse_args(arguments)
    if chosen.rounds is None:
        chosen.rounds = 3 if chosen.quick else 5
    if chosen.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if chosen.directory is None:
        usual = Path(tempfile.gettempdir())
        chosen.directory = Path.cwd() if file_system_of(usual) == "tmpfs" else usual
    return chosen


def _exit_on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(143)


def main() -> int:
    """Run the benchmark; the exit code."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, _exit_on_sigterm)  # unwinds as Ctrl-C does, so that everything is deleted
    facts = describe_machine("pyspark", "pyarrow", "numpy")
    facts["rounds"] = f"{arguments.rounds}{' (quick: an eighth of the partitions)' if arguments.quick else ''}"
    facts["threads"] = str(MergeOptions().threads)
    try:
        with tempfile.TemporaryDirectory(prefix="shuffle-bench-", dir=arguments.directory) as directory:
            tempfile.tempdir = directory  # images of the file systems to mount lie there too
            measured = run_benchmark(arguments, Path(directory))
        report(arguments, facts, *measured)
    except (BenchmarkError, SparkError, subprocess.CalledProcessError) as error:
        print(f"merge.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
