#!/usr/bin/env python3
"""What a job costs on paper: requests, files, bytes of disks and links, memory, seconds; and what breaks first.

Constants that were measured say where. ``tools/model.py --tib 100 --hosts 100`` is a job of 100 TB on 100 hosts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

GIB, MIB = 1 << 30, 1 << 20

DRIVER_BYTES = 130 * MIB
"""With its libraries. Measured together with the next two: 164 MiB for 10,000 maps × 10,000 partitions on 100 hosts
(tests/shuffle/jobs/test_scale.py)."""
DRIVER_MAP_BYTES = 1_500
"""Of an output: descriptor, digest, span of the report."""
DRIVER_CELL_BYTES = 8
"""Of a host and a partition."""
SERVER_BYTES = 90 * MIB
INDEX_CELL_BYTES = 20
"""Of a source and a partition in the index of a file that copies ranges: two offsets' worth and a checksum."""
REQUEST_PLACES = 64
"""Places that one request asks for (shuffle/client/client.py)."""
REQUEST_SECONDS = 0.0004
"""Of a server's core: small answers, from the page cache."""
SMALL_RANGE_BYTES = 16 << 10
"""Below which a merge joins record batches (shuffle/jobs/catalogue.py)."""
LARGE_RANGE_BYTES = 1 << 20
"""From which outputs are not merged (the same file)."""
MERGE_FROM, MERGE_MOST = 4, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Hosts, each with cores, disks (bytes, and bytes a second) and a link (bytes a second)."""

    hosts: int
    cores: int = 32
    disk_bytes: float = 8e12
    disk_rate: float = 4e9
    link_rate: float = 3e9
    core_rate: float = 150e6
    """Bytes that a core maps or reduces in a second; measured: 6 M rows of two columns in 0.45 s on two cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Bytes of all rows, and in how many maps and partitions they are cut."""

    byte_count: float
    maps: int
    partitions: int


def costs(cluster: Cluster, job: Job) -> dict[str, float]:
    """What the job takes, by name."""
    hosts = cluster.hosts
    maps_a_host = -(-job.maps // hosts)
    range_bytes = job.byte_count / (job.maps * job.partitions)
    is_merged = range_bytes < LARGE_RANGE_BYTES
    merges_a_host = -(-maps_a_host // min(MERGE_MOST, max(maps_a_host // cluster.cores, MERGE_FROM))) * is_merged
    read_a_host = merges_a_host or maps_a_host
    is_compacted = range_bytes < SMALL_RANGE_BYTES
    tasks = max(job.partitions, 1)
    far = (hosts - 1) / hosts
    requests = tasks * (hosts - 1) * -(-read_a_host // REQUEST_PLACES)
    host_bytes = job.byte_count / hosts
    seconds = {
        "map": job.byte_count / (hosts * cluster.cores * cluster.core_rate),
        "write": host_bytes / cluster.disk_rate,
        "merge": 2 * host_bytes / cluster.disk_rate * is_merged,
        "fetch": host_bytes * far / min(cluster.link_rate, cluster.disk_rate),
        "serve": requests / hosts * REQUEST_SECONDS,
        "reduce": job.byte_count / (hosts * cluster.cores * cluster.core_rate),
    }
    return {
        "range, bytes": range_bytes,
        "merges compact": float(is_compacted),
        "files a host, originals and merges": maps_a_host + merges_a_host,
        "files a reducer opens or asks": hosts * read_a_host,
        "without merges it would": job.maps,
        "requests": requests,
        "without merges": tasks * (hosts - 1) * -(-maps_a_host // REQUEST_PLACES),
        "connections a server has at once": (hosts - 1) * cluster.cores,
        "bytes of disk a host": (1 + is_merged) * host_bytes,
        "bytes over a link": host_bytes * far,
        "index of a merge, bytes": INDEX_CELL_BYTES
        * job.partitions
        * (1 if is_compacted else min(MERGE_MOST, maps_a_host)),
        "driver memory": DRIVER_BYTES + DRIVER_MAP_BYTES * job.maps + DRIVER_CELL_BYTES * hosts * job.partitions,
        "server memory": SERVER_BYTES + 64 * MIB,
        "a reduce task's rows, bytes": job.byte_count / tasks,
        **{f"seconds to {name}": took for name, took in seconds.items()},
        "seconds": sum(seconds.values()),
        "seconds more if a host is lost half-way": (seconds["map"] + seconds["write"]) / max(hosts - 1, 1) * 0.5 + 3,
    }


def limits(cluster: Cluster, job: Job) -> list[tuple[float, str]]:
    """How much of each limit is used, the most first, and what to do when it is all."""
    found = costs(cluster, job)
    reducer_bytes = 0.5 * 256 * GIB / cluster.cores
    return sorted(
        [
            (
                found["bytes of disk a host"] / cluster.disk_bytes,
                "disks: more hosts, or compression (--compression zstd)",
            ),
            (found["connections a server has at once"] / 4096, "connections: ServeOptions.connections"),
            (found["driver memory"] / (16 * GIB), "driver memory: fewer, larger maps"),
            (found["a reduce task's rows, bytes"] / reducer_bytes, "memory of reduce tasks: more partitions, combine="),
            (found["files a reducer opens or asks"] / 65_530, "memory maps and places of a task: larger merges"),
            (found["seconds to serve"] / found["seconds"] / 0.5, "requests: fewer partitions, larger merges"),
        ],
        reverse=True,
    )


def main() -> None:
    """Print the costs of a job, and how near its limits are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tib", type=float, default=100, help="of all rows")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--maps", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=50_000)
    arguments = parser.parse_args()
    cluster = Cluster(hosts=arguments.hosts)
    job = Job(byte_count=arguments.tib * 2**40, maps=arguments.maps, partitions=arguments.partitions)
    for name, value in costs(cluster, job).items():
        print(f"{name:44} {value:20,.1f}")
    for used, what in limits(cluster, job):
        print(f"{used:8.0%} of {what}")


if __name__ == "__main__":
    main()
