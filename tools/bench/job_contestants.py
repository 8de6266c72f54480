"""Who runs a whole job: ours on several engines, Dask P2P, Ray Data, Spark. Each in a process of its own.

    python -m tools.bench.job_contestants NAME WORK DATA SCRATCH [--kill]

prints one line of JSON: seconds of the second run, and what the result is known by. The first run warms the engine.
``--kill`` kills one of three hosts half-way through the second run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shuffle import Exchange, HashPartitioner, JoinSide, run, run_join
from shuffle.testing.hosts import SimulatedHosts, homes_of, signal_servers

PARTITIONS = 64
LINEITEM = ["l_orderkey", "l_extendedprice"]
ORDERS = ["o_orderkey", "o_totalprice"]
Result = list[float]
"""Of the group-by: groups, rows, sum of keys × counts, sum of prices. Of the join: rows, and sums of both prices."""
Job = Callable[[str, Path], Result]


# Ours.


def read(item: tuple[str, list[int], list[str]]) -> Iterator[pa.RecordBatch]:
    """Some row groups of a file, prices as floats."""
    path, groups, columns = item
    with pq.ParquetFile(path) as file:
        table = file.read_row_groups(groups, columns=columns, use_threads=False)
    yield from table.set_column(1, columns[1], table.column(1).cast(pa.float64())).to_batches()


def grouped(_partition: int, rows: pa.Table) -> Result:
    """Figures of one partition's groups."""
    groups = rows.group_by("l_orderkey").aggregate([("l_extendedprice", "count"), ("l_extendedprice", "sum")])
    counts = groups["l_extendedprice_count"]
    weighted = pc.sum(pc.multiply(groups["l_orderkey"], counts)).as_py() or 0
    total = pc.sum(groups["l_extendedprice_sum"]).as_py() or 0.0
    return [groups.num_rows, rows.num_rows, weighted, total]


def joined(_partition: int, lines: pa.Table, orders: pa.Table) -> Result:
    """Figures of one partition's join."""
    rows = lines.join(orders, "l_orderkey", "o_orderkey", join_type="inner")
    sums = [pc.sum(rows[name]).as_py() or 0.0 for name in ("l_extendedprice", "o_totalprice")]
    return [rows.num_rows, *sums]


def pieces(directory: Path, columns: list[str]) -> list[tuple[str, list[int], list[str]]]:
    """The inputs of map tasks: each file in four pieces."""
    found = []
    for path in sorted(map(str, directory.glob("*.parquet"))):
        count = pq.read_metadata(path).num_row_groups
        cuts = [count * piece // 4 for piece in range(5)]
        found += [(path, list(range(start, stop)), columns) for start, stop in pairwise(cuts) if start < stop]
    return found


def ours(work: str, data: Path, executor: Any, **keywords: Any) -> Result:
    """The job on one of our engines."""
    lines = pieces(data / "lineitem", LINEITEM)
    by_line = HashPartitioner("l_orderkey", PARTITIONS)
    parts: list[Result]
    if work == "group":
        results = run(lines, read, by_line, grouped, executor, **keywords)
    else:
        orders = JoinSide(pieces(data / "orders", ORDERS), read, HashPartitioner("o_orderkey", PARTITIONS))
        results = run_join([JoinSide(lines, read, by_line), orders], joined, executor, **keywords)
    print(results.report, *results.report.retries, sep="\n", file=sys.stderr)
    parts = list(results)
    return [sum(part[place] for part in parts) for place in range(len(parts[0]))]


def halfway(kill: Callable[[], None] | None) -> Callable[[str, int, int], None]:
    """Progress that kills a host when half of the maps are done."""
    waits = [kill]

    def tell(stage: str, done: int, total: int) -> None:
        if stage == "map" and done >= total // 2 and waits[0] is not None:
            act, waits[0] = waits[0], None
            act()

    return tell


def pool(stack: ExitStack, scratch: Path, _kill: bool) -> Job:
    """Ours on a pool of two processes."""
    executor = stack.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
    return lambda work, data: ours(work, data, executor, exchange=Exchange.directory(scratch))


def simulated(stack: ExitStack, scratch: Path, kill: bool, *, shared: bool = False) -> Job:
    """Ours on three hosts that are pools."""
    executor = SimulatedHosts("abc", preload=["tools.bench.job_contestants"])
    stack.callback(executor.shutdown)
    exchange = Exchange.directory(scratch) if shared else Exchange.hosts([scratch])
    runs = iter(range(9))

    def job(work: str, data: Path) -> Result:
        act = (lambda: executor.kill_host("b", [scratch])) if kill and next(runs) == 1 else None
        return ours(work, data, executor, exchange=exchange, progress=halfway(act))

    return job


def on_dask(stack: ExitStack, scratch: Path, kill: bool, *, workers: int = 2, hosts: bool = False) -> Job:
    """Ours on Dask."""
    from shuffle.jobs.dask import DaskExecutor

    client = dask_client(stack, workers)
    executor = DaskExecutor(client, hosts="name")
    exchange = Exchange.hosts([scratch]) if hosts else Exchange.directory(scratch)
    runs = iter(range(9))

    def lose_a_host() -> None:
        signal_servers([scratch], "1", signal.SIGKILL)
        kill_dask_worker(client)
        for home in homes_of([scratch], "1"):
            shutil.rmtree(home, ignore_errors=True)

    def job(work: str, data: Path) -> Result:
        act = lose_a_host if kill and next(runs) == 1 else None
        return ours(work, data, executor, exchange=exchange, progress=halfway(act))

    return job


def on_ray(stack: ExitStack, scratch: Path, _kill: bool) -> Job:
    """Ours on Ray."""
    import ray

    from shuffle.jobs.ray import RayExecutor

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    stack.callback(ray.shutdown)
    executor = RayExecutor()
    return lambda work, data: ours(work, data, executor, exchange=Exchange.directory(scratch))


# The others.


def dask_client(stack: ExitStack, workers: int) -> Any:
    """A local cluster's client."""
    import distributed

    cluster = stack.enter_context(
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        )
    )
    return stack.enter_context(distributed.Client(cluster))


def kill_dask_worker(client: Any) -> None:
    """For good."""
    nanny = client.cluster.workers[1]
    nanny.auto_restart = False
    os.kill(nanny.pid, signal.SIGKILL)


def dask_p2p(stack: ExitStack, _scratch: Path, kill: bool, *, workers: int = 2) -> Job:
    """Dask's own shuffle."""
    import dask
    import dask.dataframe as dd

    client = dask_client(stack, workers)
    stack.enter_context(dask.config.set({"dataframe.shuffle.method": "p2p"}))
    seconds: list[float] = []

    def frame(directory: Path, columns: list[str]) -> Any:
        made = dd.read_parquet(sorted(map(str, directory.glob("*.parquet"))), columns=columns)
        return made.astype({columns[1]: "float64"})

    def job(work: str, data: Path) -> Result:
        if kill and seconds:
            threading.Timer(seconds[0] / 2, kill_dask_worker, [client]).start()
        started = time.perf_counter()
        lines = frame(data / "lineitem", LINEITEM).shuffle("l_orderkey", npartitions=PARTITIONS)
        if work == "group":
            parts = lines.map_partitions(_grouped_frame, meta=(None, "object")).compute()
        else:
            orders = frame(data / "orders", ORDERS).shuffle("o_orderkey", npartitions=PARTITIONS)
            parts = lines.map_partitions(
                _joined_frames, orders, meta=(None, "object"), align_dataframes=False
            ).compute()
        seconds.append(time.perf_counter() - started)
        found = [list(part) for part in parts]
        return [float(sum(part[place] for part in found)) for place in range(len(found[0]))]

    return job


def _grouped_frame(frame: Any) -> Any:
    import pandas as pd

    return pd.Series([grouped(0, pa.Table.from_pandas(frame, preserve_index=False))])


def _joined_frames(lines: Any, orders: Any) -> Any:
    import pandas as pd

    return pd.Series([joined(0, pa.Table.from_pandas(lines), pa.Table.from_pandas(orders))])


def ray_data(stack: ExitStack, _scratch: Path, _kill: bool) -> Job:
    """Ray's own shuffle."""
    import ray
    from ray.data.aggregate import Count, Sum

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    stack.callback(ray.shutdown)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def dataset(directory: Path, columns: list[str]) -> Any:
        made = ray.data.read_parquet(str(directory), columns=columns)
        return made.map_batches(_as_floats, batch_format="pyarrow")

    def job(work: str, data: Path) -> Result:
        lines = dataset(data / "lineitem", LINEITEM)
        if work == "group":
            groups = lines.groupby("l_orderkey", num_partitions=PARTITIONS).aggregate(
                Count(alias_name="count"), Sum("l_extendedprice", alias_name="sum")
            )
            stats = groups.map_batches(_group_stats, batch_format="pyarrow", batch_size=None)
        else:
            orders = dataset(data / "orders", ORDERS)
            rows = lines.join(orders, "inner", PARTITIONS, on=("l_orderkey",), right_on=("o_orderkey",))
            stats = rows.map_batches(_join_stats, batch_format="pyarrow", batch_size=None)
        found = [list(row.values()) for row in stats.take_all()]
        return [float(sum(part[place] or 0 for part in found)) for place in range(len(found[0]))]

    return job


def _as_floats(table: pa.Table) -> pa.Table:
    return table.set_column(1, table.column_names[1], table.column(1).cast(pa.float64()))


def _group_stats(table: pa.Table) -> pa.Table:
    weighted = pc.sum(pc.multiply(table["l_orderkey"], pc.cast(table["count"], pa.int64()))).as_py() or 0
    sums = [pc.sum(table[name]).as_py() or 0 for name in ("count", "sum")]
    return pa.table({"a": [table.num_rows], "b": [sums[0]], "c": [weighted], "d": [float(sums[1])]})


def _join_stats(table: pa.Table) -> pa.Table:
    sums = [float(pc.sum(table[name]).as_py() or 0) for name in ("l_extendedprice", "o_totalprice")]
    return pa.table({"a": [table.num_rows], "b": [sums[0]], "c": [sums[1]]})


def spark(stack: ExitStack, scratch: Path, _kill: bool) -> Job:
    """Spark, with two threads."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.shuffle.partitions", PARTITIONS)
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.autoBroadcastJoinThreshold", -1)
        .config("spark.local.dir", str(scratch))
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .getOrCreate()
    )
    stack.callback(session.stop)

    def job(work: str, data: Path) -> Result:
        session.read.parquet(str(data / "lineitem")).createOrReplaceTempView("lineitem")
        session.read.parquet(str(data / "orders")).createOrReplaceTempView("orders")
        (row,) = session.sql(QUERIES[work]).collect()
        return [float(value) for value in row]

    return job


QUERIES = {
    "group": """select count(*), sum(n), sum(l_orderkey * n), sum(total) from (
        select l_orderkey, count(*) n, sum(cast(l_extendedprice as double)) total from lineitem group by l_orderkey)""",
    "join": """select count(*), sum(cast(l_extendedprice as double)), sum(cast(o_totalprice as double))
        from lineitem join orders on l_orderkey = o_orderkey""",
}

CONTESTANTS: dict[str, Callable[[ExitStack, Path, bool], Job]] = {
    "pool": pool,
    "dask": on_dask,
    "ray": on_ray,
    "hosts": simulated,
    "hosts-shared": lambda *of: simulated(*of, shared=True),
    "dask-hosts": lambda *of: on_dask(*of, workers=3, hosts=True),
    "p2p": dask_p2p,
    "p2p-hosts": lambda *of: dask_p2p(*of, workers=3),
    "ray-data": ray_data,
    "spark": spark,
}


def main() -> None:
    """Run one contestant twice, and tell of the second run."""
    name, work, data, scratch, *flags = sys.argv[1:]
    with ExitStack() as stack:
        job = CONTESTANTS[name](stack, Path(scratch), "--kill" in flags)
        job(work, Path(data))
        started = time.perf_counter()
        result = job(work, Path(data))
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "result": result}), flush=True)


if __name__ == "__main__":
    main()
