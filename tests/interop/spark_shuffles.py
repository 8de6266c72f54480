"""Runs in a process and JVM of its own: Spark jobs of every codec and checksum algorithm, whose shuffle files are kept.

Sessions are started one after the other, since codec and algorithm are a session's; Spark removes its files with the
session, so they are copied before.
"""

import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

ROWS = 1500
MAPS = 3
JOBS = {
    # the partitions, by what, for each number of a job
    "usual": (5, "id"),
    "mostly empty partitions": (16, "id % 2"),
    "one partition of everything": (4, "1"),
}
SESSIONS = {
    "lz4": {},
    "zstd": {"spark.io.compression.codec": "zstd"},
    "snappy": {"spark.io.compression.codec": "snappy"},
    "lzf": {"spark.io.compression.codec": "lzf"},
    "none": {"spark.shuffle.compress": "false", "spark.shuffle.spill.compress": "false"},
    "crc32": {"spark.shuffle.checksum.algorithm": "CRC32"},
    "crc32c": {"spark.shuffle.checksum.algorithm": "CRC32C"},
}
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM that lives for seconds: the second compiler and parallel collectors take more time than they save."""
COMMON = {
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.log.level": "ERROR",
    "spark.cleaner.referenceTracking": "false",  # or files of a job are gone once the JVM has collected its garbage
    "spark.sql.adaptive.enabled": "false",
    "spark.shuffle.sort.bypassMergeThreshold": "1",
    "spark.shuffle.spill.numElementsForceSpillThreshold": "100",
}
QUERY = "sum(id)", "sum(length(text))", "count(*)"


def jobs_of(session: str) -> list[str]:
    """All jobs for each codec; the first alone for a checksum algorithm, which looks at bytes and nothing else."""
    return list(JOBS)[:1] if session.startswith("crc32") else list(JOBS)


def shuffle_of(job: str) -> int:
    """The number of a job's shuffle; the next number is that of adding up its partitions."""
    return 2 * list(JOBS).index(job)


def run_session(name: str, home: Path) -> Iterator[tuple[str, list[int]]]:
    """Run all jobs in a session of its own; each job's sums. The files are in ``home / name`` then."""
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import expr

    local = home / f"local-{name}"
    builder = SparkSession.builder.master("local[2]").appName(name).config("spark.local.dir", str(local))
    for key, value in (COMMON | SESSIONS[name]).items():
        builder = builder.config(key, value)
    # What an earlier session was given stays in the builder.
    for key in {key for settings in SESSIONS.values() for key in settings} - SESSIONS[name].keys():
        builder._options.pop(key, None)
    session = builder.getOrCreate()
    try:
        table = session.range(0, ROWS, 1, MAPS).selectExpr("id", "concat('row ', id) as text")
        for job in jobs_of(name):
            partition_count, key = JOBS[job]
            (sums,) = table.repartition(partition_count, expr(key)).selectExpr(*QUERY).collect()
            yield job, list(sums)
        for root in local.rglob("blockmgr-*"):
            shutil.copytree(root, home / name / root.name)
    finally:
        session.stop()


def main() -> None:
    home = Path(sys.argv[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sums = {name: dict(run_session(name, home)) for name in SESSIONS}
    (home / "sums.json").write_text(json.dumps(sums))


if __name__ == "__main__":
    main()
