"""Who partitions: ours, and each opponent, one of them in a process of its own.

    python -m tools.bench.partitioners CONTESTANT INPUT_DIRECTORY KEY PARTITIONS OUTPUT_DIRECTORY CORES

The process is what is measured, start-up included, but for Spark and Dask, which are started once for many jobs: they
print the seconds of one. What is compared, and how often, is decided by ``partition.py``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """What to partition, by which column, into how many partitions, and where these go."""

    inputs: Path
    key: str
    partition_count: int
    outputs: Path
    cores: int


def partition_ours(task: Task, memory: str) -> None:
    """``shuffle partition``."""
    from shuffle.__main__ import main

    arguments = ["partition", str(task.inputs), "--by", task.key, "--partitions", str(task.partition_count)]
    sys.argv = ["shuffle", *arguments, "-o", str(task.outputs / "ours.arrow"), "--memory", memory, "--quiet"]
    sys.exit(main())


def partition_by_polars(task: Task) -> None:
    """A file a partition, hashed by Polars' own hash."""
    import polars as pl

    number = (pl.col(task.key).hash(0) % task.partition_count).cast(pl.Int32)
    target = pl.PartitionBy(task.outputs, key="partition", include_key=False)
    rows = pl.scan_parquet(task.inputs / "*.parquet").with_columns(partition=number)
    rows.sink_ipc(target, compression="uncompressed", mkdir=True)


def partition_by_duckdb(task: Task) -> None:
    """Parquet files, uncompressed, in a directory a partition, hashed by DuckDB's own hash."""
    import duckdb

    duckdb.sql(f"SET threads = {task.cores}")
    duckdb.sql(
        f"COPY (SELECT *, (hash({task.key}) % {task.partition_count})::INT AS partition "
        f"FROM '{task.inputs}/*.parquet') TO '{task.outputs}/rows' "
        "(FORMAT PARQUET, PARTITION_BY (partition), COMPRESSION uncompressed)"
    )


def partition_by_spark(task: Task) -> float:
    """Spark's shuffle in a warm JVM: a repartition and its reading back, less a scan of the same rows."""
    from pyspark.sql import DataFrame, SparkSession

    session = (
        SparkSession.builder.master(f"local[{task.cores}]")
        .config("spark.driver.memory", "4g")
        .config("spark.local.dir", str(task.outputs))
        .config("spark.ui.enabled", "false")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.shuffle.sort.bypassMergeThreshold", "0")
        .getOrCreate()
    )
    rows = session.read.parquet(str(task.inputs))

    def seconds_of(frame: DataFrame) -> float:
        started = time.perf_counter()
        frame.write.format("noop").mode("overwrite").save()
        return time.perf_counter() - started

    repartitioned = rows.repartition(task.partition_count, task.key)
    for _ in range(2):  # the JVM compiles what it runs
        seconds_of(rows), seconds_of(repartitioned)
    seconds = seconds_of(repartitioned) - seconds_of(rows)
    session.stop()
    return seconds


def partition_by_dask(task: Task) -> float:
    """Dask's P2P shuffle between threads of one worker a core, with its reading back."""
    import dask
    import dask.dataframe as dd
    import distributed

    untyped: Any = distributed
    dask.config.set({"dataframe.shuffle.method": "p2p", "temporary-directory": str(task.outputs)})
    with (
        untyped.LocalCluster(n_workers=task.cores, threads_per_worker=1, dashboard_address=None) as cluster,
        untyped.Client(cluster),
    ):
        started = time.perf_counter()
        rows = dd.read_parquet(task.inputs)
        rows.shuffle(task.key, npartitions=task.partition_count).map_partitions(len).compute()
        return time.perf_counter() - started


CONTESTANTS: dict[str, Callable[[Task], float | None]] = {
    "ours, 4 GiB": lambda task: partition_ours(task, "4GiB"),
    "ours, 1 GiB": lambda task: partition_ours(task, "1GiB"),
    "ours, 256 MiB": lambda task: partition_ours(task, "256MiB"),
    "polars": partition_by_polars,
    "duckdb": partition_by_duckdb,
    "spark": partition_by_spark,
    "dask": partition_by_dask,
}


def main(arguments: list[str]) -> None:
    """Run one contestant once."""
    name, inputs, key, partition_count, outputs, cores = arguments
    task = Task(Path(inputs), key, int(partition_count), Path(outputs), int(cores))
    print(json.dumps({"seconds": CONTESTANTS[name](task)}))


if __name__ == "__main__":
    main(sys.argv[1:])
