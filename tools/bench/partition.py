#!/usr/bin/env python3
"""Measures partitioning against Polars, DuckDB, Spark and Dask: seconds and peak memory, in turn, as ratios.

The contestants are in ``partitioners.py``; here are the tables, the measuring and the command.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tools.bench.page_cache import touch_free_memory
from tools.bench.partitioners import CONTESTANTS
from tools.bench.report import Table, alternate, describe_machine, file_system_of, markdown_head, write_report

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(name for name in CONTESTANTS if name.startswith("ours"))
MIDDLE = "ours, 1 GiB"  # for tables of many times that size
FILE_COUNT = 4
SAMPLE_SECONDS = 0.01
_TOUCHED_BYTES = 2 << 30  # what the largest case writes, spills included
PREAMBLE = """\
From hot Parquet files to partitions, all columns, uncompressed, everything on one file system. Each run is a process of
its own, contestants take turns, medians. Seconds are those of whole processes, start-up included; but Spark's are those
of a repartition less a scan in a warm JVM, and Dask's, which reads its partitions back, those of a job. Before each run
2 GiB are written and deleted, so that none waits for memory that a host has taken back. Memory is the highest sum of
anonymous memory of all processes of a run. Ratios are ours to theirs: below 1, ours is faster or smaller."""


@dataclass(frozen=True, slots=True)
class Case:
    """A directory of Parquet files, the column to partition by, and P."""

    name: str
    inputs: Path
    key: str
    partition_count: int


@dataclass(slots=True)
class Measured:
    """What a case's runs took, by contestant."""

    case: Case
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: dict[str, list[int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def as_markdown(self) -> str:
        """Medians, the ratios of ours to every other, and who is missing."""
        missing = [f"Left out: {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n\n".join([self._table().as_markdown(), *missing])

    def _table(self) -> Table:
        seconds = {name: median(values) for name, values in self.seconds.items()}
        peaks = {name: max(self.peak_bytes[name]) for name in seconds}
        ours = [name for name in OURS if name in seconds]
        least = ours[-1:]  # of ours, the one with the least memory
        columns = [self.case.name, "seconds", "peak MiB"]
        columns += [*(f"{name}: time" for name in ours), *(f"{name}: memory" for name in least)]
        rows = [
            [
                name,
                f"{seconds[name]:.2f}",
                f"{peaks[name] / 2**20:.0f}",
                *(f"{seconds[own] / seconds[name]:.2f}" for own in ours),
                *(f"{peaks[own] / peaks[name]:.2f}" for own in least),
            ]
            for name in seconds
        ]
        return Table(columns, rows)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "case": self.case.name,
            "partition_count": self.case.partition_count,
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "left_out": self.left_out,
        }


class RunError(Exception):
    """A contestant failed; the message is the last line that it said."""


def measure(case: Case, contestants: Sequence[str], rounds: int, directory: Path) -> Measured:
    """Let the contestants take turns; one that fails in a first run, which does not count, is left out."""
    measured = Measured(case)
    able = []
    for name in contestants:
        try:
            _run(name, case, directory)
            able.append(name)
        except RunError as error:
            measured.left_out[name] = str(error)

    def once(name: str) -> float:
        seconds, peak_bytes = _run(name, case, directory)
        measured.peak_bytes.setdefault(name, []).append(peak_bytes)
        return seconds

    measured.seconds = alternate({name: partial(once, name) for name in able}, rounds)
    return measured


def _run(name: str, case: Case, directory: Path) -> tuple[float, int]:
    """Seconds and peak bytes of one run."""
    outputs = Path(tempfile.mkdtemp(dir=directory))
    touch_free_memory(outputs, _TOUCHED_BYTES)
    cores = len(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "tools.bench.partitioners", name, str(case.inputs), case.key]
    command += [str(case.partition_count), str(outputs), str(cores)]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(cores), "TMPDIR": str(outputs)}
    try:
        with (outputs / "errors").open("w+") as errors:
            started = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors
            )
            peak_bytes = 0
            while process.poll() is None:
                peak_bytes = max(peak_bytes, _anonymous_bytes(process.pid))
                time.sleep(SAMPLE_SECONDS)
            seconds = time.perf_counter() - started
            answer, _ = process.communicate()
            errors.seek(0)
            said = errors.read().strip().splitlines()
        if process.returncode != 0:
            raise RunError(said[-1] if said else f"ended with {process.returncode}")
        own = json.loads(answer.splitlines()[-1])["seconds"] if answer else None
        return seconds if own is None else float(own), peak_bytes
    finally:
        shutil.rmtree(outputs, ignore_errors=True)


def _anonymous_bytes(process_id: int) -> int:
    """Anonymous memory of a process and of all below it."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
        # Each thread has children of its own.
        tasks = Path(f"/proc/{process_id}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0) << 10
    return own + sum(_anonymous_bytes(int(child)) for child in children)


def lineitem(directory: Path, scale: float) -> Path:
    """TPC-H's lineitem, generated unless it is there."""
    inputs = directory / f"lineitem-{scale:g}"
    if not inputs.exists():
        making = directory / f"lineitem-{scale:g}.making"
        program = Path(sys.executable).with_name("tpchgen-cli")
        options = ["-s", f"{scale:g}", "--tables=lineitem", f"--parts={FILE_COUNT}", f"--output-dir={making}"]
        subprocess.run([program, "parquet", *options], check=True)
        (making / "lineitem").rename(inputs)
    return inputs


def narrow(directory: Path, row_count: int) -> Path:
    """Rows of int64, float64, int32 and a short string, written unless they are there."""
    inputs = directory / f"narrow-{row_count}"
    if not inputs.exists():
        making = directory / f"narrow-{row_count}.making"
        making.mkdir(exist_ok=True)
        for number in range(FILE_COUNT):
            generator = np.random.default_rng(number)
            count = row_count // FILE_COUNT
            table = pa.table(
                {
                    "key": generator.integers(0, 2**62, count),
                    "value": generator.random(count),
                    "number": generator.integers(0, 2**31, count, np.int32),
                    "text": pa.array(generator.integers(0, 10**6, count)).cast(pa.string()),
                }
            )
            pq.write_table(table, making / f"narrow.{number}.parquet")
        making.rename(inputs)
    return inputs


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round: does everything work?")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CONTESTANTS,
        help=f"by default all but {MIDDLE!r}; of a --scale {MIDDLE!r}, polars, duckdb",
    )
    parser.add_argument(
        "--scale", type=float, help="only lineitem of that scale; 10 is 60 million rows, and takes 40 GB of disk"
    )
    parser.add_argument("--case", default="", help="only cases with this in their names, as 'lineitem, 200'")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()) / "shuffle-bench",
        help="for the tables, which are made once, and for what is written",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write partition.md and partition.json there")
    return parser.parse_args(arguments)


def _cases(options: argparse.Namespace) -> list[Case]:
    directory: Path = options.directory
    scale = options.scale or 0.3
    cases = [Case(f"lineitem {scale:g}, 200 partitions", lineitem(directory, scale), "l_orderkey", 200)]
    if options.scale:
        return cases
    tables = {
        "lineitem": (lineitem(directory, 0.1 if options.quick else 1), "l_orderkey"),
        "narrow": (narrow(directory, 800_000 if options.quick else 8_000_000), "key"),
    }
    return cases + [
        Case(f"{name}, {partition_count} partitions", inputs, key, partition_count)
        for partition_count in (200, 2000)
        for name, (inputs, key) in tables.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write the report if asked."""
    options = _arguments(arguments)
    facts = describe_machine("pyarrow", "polars", "duckdb", "pyspark", "distributed")
    options.directory.mkdir(parents=True, exist_ok=True)
    facts["file system"] = file_system_of(options.directory)
    cases = _cases(options)
    if options.only is None:
        few = [MIDDLE, "polars", "duckdb"]
        options.only = few if options.scale else [name for name in CONTESTANTS if name != MIDDLE]
    print(f"{markdown_head('Partitioning', facts)}\n\n{PREAMBLE}", flush=True)
    results = []
    for case in cases:
        if options.case in case.name:
            result = measure(case, options.only, 1 if options.quick else options.rounds, options.directory)
            results.append(result)
            print(f"\n{result.as_markdown()}", flush=True)
    if options.output is not None:
        markdown = "\n\n".join(
            [markdown_head("Partitioning", facts), PREAMBLE, *(result.as_markdown() for result in results)]
        )
        write_report(
            options.output,
            "partition",
            markdown,
            {"machine": facts, "cases": [result.as_dict() for result in results]},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
