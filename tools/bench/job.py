#!/usr/bin/env python3
"""How long whole jobs take: ours on each engine beside Dask P2P, Ray Data and Spark, also with a host killed half-way.

Contestants take turns, each in a process of its own that runs the job twice; the second run counts. Each result is
compared with DuckDB's. Data: ``tpchgen-cli parquet -s 1 --tables=lineitem,orders --parts=4`` in DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from math import isclose
from pathlib import Path

import duckdb
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, it finds tools.bench

from tools.bench.job_contestants import CONTESTANTS, QUERIES

RATIOS = [
    ("pool", "p2p", 0.2),
    ("pool", "spark", 0.1),
    ("pool", "ray-data", 0.06),
    ("dask", "p2p", 0.3),
    ("ray", "ray-data", 0.1),
    ("hosts", "hosts-shared", 1.3),
    ("dask-hosts!", "dask-hosts", 1.6),
    ("dask-hosts!", "p2p-hosts!", 0.3),
]
"""A contestant, another one, and what the one's seconds should be of the other's; ``!``: with a host killed."""


def measured(name: str, work: str, data: Path) -> tuple[float, float, list[float]]:
    """Seconds, peak memory in MiB of all processes (PSS), and the result."""
    with tempfile.TemporaryDirectory(prefix="bench-job-") as scratch:
        arguments = [name.rstrip("!"), work, str(data), scratch, *(["--kill"] if name.endswith("!") else [])]
        command = [sys.executable, "-m", "tools.bench.job_contestants", *arguments]
        # Servers of hosts are started in each run, and would be compiled each time.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        peak = [0.0]
        sampler = threading.Thread(target=_sample, args=(process, peak))
        sampler.start()
        output, _ = process.communicate(timeout=300)
        sampler.join()
    if process.returncode != 0 and not output:
        raise RuntimeError(f"{name} failed at {work}: run {' '.join(command)}")
    said = json.loads(output.splitlines()[-1])
    return said["seconds"], peak[0], said["result"]


def _sample(process: subprocess.Popen[str], peak: list[float]) -> None:
    while process.poll() is None:
        total = 0
        try:
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                rollup = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
                total += int(rollup.split("Pss:")[1].split()[0])
        except (psutil.Error, OSError, IndexError):
            pass  # a process that ended meanwhile
        peak[0] = max(peak[0], total / 1024)
        time.sleep(0.2)


def expected(work: str, data: Path) -> list[float]:
    """What DuckDB says."""
    with duckdb.connect() as connection:
        for table in ("lineitem", "orders"):
            connection.execute(f"create view {table} as select * from '{data}/{table}/*.parquet'")
        row = connection.execute(QUERIES[work]).fetchone()
    assert row is not None  # an aggregate has one
    return [float(value) for value in row]


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help="names with commas; NAME! kills a host")
    parser.add_argument("--work", default="group,join", help="group, join, or both with a comma")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts")
    arguments = parser.parse_args()
    names = arguments.contestants.split(",")
    for work in arguments.work.split(","):
        wanted = expected(work, arguments.data)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        memory: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for name in names:
                took, peak, result = measured(name, work, arguments.data)
                if not all(isclose(one, other, rel_tol=1e-9) for one, other in zip(result, wanted, strict=True)):
                    raise RuntimeError(f"{name} at {work}: {result}, and DuckDB says {wanted}")
                seconds[name].append(took)
                memory[name].append(peak)
        print(f"{work}: seconds (peak MiB)")
        medians = {name: statistics.median(took) for name, took in seconds.items()}
        for name in names:
            print(f"  {name:14} {medians[name]:8.2f} ({statistics.median(memory[name]):.0f})")
        for one, other, target in RATIOS:
            if one in medians and other in medians:
                print(f"  {one} / {other}: {medians[one] / medians[other]:.2f}, wanted {target}")


if __name__ == "__main__":
    main()
