#!/usr/bin/env python3
"""Measures ``MapWriter`` alone, fed with batches that are in memory: rows and bytes a second, and what it cost.

The batches are read before the clock starts, texts as strings with offsets, not as views. Each run is a process of its
own; medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyarrow as pa
import pyarrow.parquet as pq

from tools.bench.page_cache import touch_free_memory
from tools.bench.partition import lineitem, narrow
from tools.bench.report import describe_machine, markdown_head

_TOUCHED_BYTES = 2 << 30


def write_once(inputs: Path, key: str, directory: Path) -> dict[str, float]:
    """Rows, seconds and page faults of one run, in this process."""
    from shuffle import HashPartitioner, MapWriter

    tables = [pq.read_table(file) for file in sorted(inputs.glob("*.parquet"))]
    table = pa.concat_tables(tables)
    plain = [field.with_type(pa.string()) if field.type == pa.string_view() else field for field in table.schema]
    table = table.cast(pa.schema(plain)).combine_chunks()
    batches = table.to_batches(max_chunksize=100_000)
    touch_free_memory(directory, _TOUCHED_BYTES)
    started, cpu = time.perf_counter(), time.process_time()
    with MapWriter(
        directory / "map.arrow", table.schema, HashPartitioner([key], 200), memory_bytes="4GiB", overwrite=True
    ) as writer:
        for batch in batches:
            writer.write(batch, validate=False)
    seconds = time.perf_counter() - started
    assert writer.report is not None
    return {
        "rows": table.num_rows,
        "bytes": writer.report.row_bytes,
        "seconds": seconds,
        "processor": time.process_time() - cpu,
        "faults": writer.report.page_faults,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }


def main() -> None:
    """Measure the two tables in turn, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "shuffle-bench")
    parser.add_argument("--once", nargs=2, metavar=("INPUTS", "KEY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    if options.once:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            print(json.dumps(write_once(Path(options.once[0]), options.once[1], Path(directory))))
        return
    tables = {
        "lineitem": (lineitem(options.directory, 1), "l_orderkey"),
        "narrow": (narrow(options.directory, 8_000_000), "key"),
    }
    print(markdown_head("MapWriter, batches in memory, 200 partitions", describe_machine("pyarrow")))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in tables}
    for _ in range(options.rounds):
        for name, (inputs, key) in tables.items():
            command = [sys.executable, __file__, "--directory", options.directory, "--once", inputs, key]
            runs[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    for name, measured in runs.items():
        seconds, processor = (median(run[what] for run in measured) for what in ("seconds", "processor"))
        rows, size = measured[0]["rows"], measured[0]["bytes"]
        print(
            f"{name}: {rows / seconds / 1e6:.1f} million rows/s, {size / seconds / 1e9:.2f} GB/s, "
            f"{seconds:.2f} s ({processor:.2f} s of processor)"
        )


if __name__ == "__main__":
    main()
