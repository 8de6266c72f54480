#!/usr/bin/env python3
"""Measures serving partitions over loopback against nginx with sendfile, pyarrow Flight, and buffered sends.

One core for the server and one for the client, contestants in turn. ``wrk`` asks HTTP servers; Flight is asked by its
own client and then so are we by ours, both up to a table in memory: one partition a call, and many of them. ``wrk`` is
what limits the larger sizes: there throughput tells whether a server keeps it busy, and CPU what that takes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from pyarrow.flight import FlightClient, Ticket, connect

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shuffle.client import PartitionClient, Place
from spill_format import SpillFile, SpillWriter
from tools.bench.report import Table, describe_machine, markdown_head, write_report

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"16KiB": 16 << 10, "64KiB": 64 << 10, "1MiB": 1 << 20, "64MiB": 64 << 20}
CONNECTIONS = {"16KiB": 64, "64KiB": 8, "1MiB": 4, "64MiB": 2}
PARTITIONS = {"16KiB": 4, "64KiB": 64, "1MiB": 4, "64MiB": 4}
CALLS = {"64KiB": 2000, "1MiB": 1000}  # the processor's time is told in steps of 10 ms
MANY, MANY_CALLS = "64 of 64KiB", 40
SLOW_READERS = 200
SERVER_CORE, CLIENT_CORE = "0", "1"

FLIGHT = """
import sys
import pyarrow.flight as flight
from spill_format import SpillFile
class Server(flight.FlightServerBase):
    files = {}
    def do_get(self, context, ticket):
        path, partition = ticket.ticket.decode().rsplit("#", 1)
        if path not in self.files:
            self.files[path] = SpillFile(path)
        return flight.RecordBatchStream(self.files[path].batches(int(partition)))
server = Server("grpc://127.0.0.1:0")
print(server.port, flush=True)
server.serve()
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: bytes a second, CPU seconds of the server a GiB, requests a second, latencies in ms."""

    bytes_per_second: float
    cpu_seconds_per_gib: float
    requests_per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def write_files(root: Path) -> None:
    """A file for each size, of partitions of about that many bytes."""
    for name, byte_count in SIZES.items():
        schema = pa.schema([("n", pa.int64())])
        with SpillWriter(root / f"{name}.arrow", schema, PARTITIONS[name]) as writer:
            for partition in range(PARTITIONS[name]):
                writer.write(partition, pa.record_batch([np.arange(byte_count // 8 - 64)], schema=schema))


@contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A server on its core."""
    pinned = ["taskset", "-c", SERVER_CORE, *command]
    with subprocess.Popen(
        pinned, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}
    ) as started:
        try:
            yield started
        finally:
            started.terminate()


def ours(root: Path, *options: str) -> tuple[str, ...]:
    """The command of our server."""
    program = "import sys; from shuffle.cli import main; sys.exit(main())"
    return (sys.executable, "-c", program, "serve", str(root), *options)


def nginx_configuration(root: Path, port: int) -> str:
    """One worker. ``tcp_nopush``, which Debian turns on, holds the end of a range of 64 KiB back for 40 ms."""
    return f"""daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/nginx.log; user root;
events {{ worker_connections 1024; }}
http {{ sendfile on; access_log off; keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{port}; root {root}; }} }}
"""


def free_port() -> int:
    """One that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    ticks = 0
    for each in pids:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def by_wrk(pid: int, url: str, connections: int, seconds: int, *headers: str) -> Sample:
    """Ask with wrk."""
    options = [word for header in headers for word in ("-H", header)]
    before = cpu_seconds(pid)
    completed = subprocess.run(
        ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *options, url],
        capture_output=True,
        text=True,
        check=True,
    )
    used = cpu_seconds(pid) - before
    text = completed.stdout
    if "Non-2xx" in text:
        raise RuntimeError(f"{url}: {text}")
    total = re.search(r"requests in ([\d.]+)(\w+), ([\d.]+)(\w+) read", text)
    assert total is not None, text
    byte_count = float(total[3]) * {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[total[4]]
    elapsed = float(total[1]) * {"s": 1, "m": 60}[total[2]]
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    latency = {
        percent: float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        for percent, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)
    }
    return Sample(
        byte_count / elapsed, used / (byte_count / 2**30), float(rate[1]), latency.get("50", 0), latency.get("99", 0)
    )


def by_calls(pid: int, call: Callable[[], int], count: int) -> Sample:
    """Ask with a client in this process, by calls that return how many bytes came."""
    byte_count = call()
    before, started = cpu_seconds(pid), time.perf_counter()
    for _ in range(count):
        call()
    elapsed = time.perf_counter() - started
    used = cpu_seconds(pid) - before
    return Sample(byte_count * count / elapsed, used / (byte_count * count / 2**30), count / elapsed)


def fetched(client: PartitionClient, file_url: str) -> int:
    """Bytes of partition 1 from our server."""
    return int(client.read(file_url, 1).nbytes)


def fetched_together(client: PartitionClient, places: Sequence[Place]) -> int:
    """Bytes of many partitions from our server, asked for by one request."""
    return sum(int(fetched.table.nbytes) for fetched in client.read_many(places))


def got(flight: FlightClient, tickets: Sequence[Ticket]) -> int:
    """Bytes of partitions from Flight, one after the other."""
    return sum(int(flight.do_get(ticket).read_all().nbytes) for ticket in tickets)


def slow_reader_bytes(pid: int, url: str) -> int:
    """Anonymous memory of the server while many read nothing of what they asked for."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with ExitStack() as stack:
        for _ in range(SLOW_READERS):
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(b"GET /64MiB.arrow/partitions/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2)
        (line,) = re.findall(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(line) * 1024


def measure(root: Path, rounds: int, seconds: int) -> tuple[dict[str, list[Sample]], int]:
    """Samples by contestant and size, and the memory that slow readers hold."""
    samples: dict[str, list[Sample]] = {}
    port = free_port()
    (root / "nginx.conf").write_text(nginx_configuration(root, port))
    with ExitStack() as stack:
        enter = stack.enter_context
        sendfile = enter(process(*ours(root, "--transfer-to", "on")))
        buffered = enter(process(*ours(root, "--transfer-to", "off")))
        flight_server = enter(process(sys.executable, "-c", FLIGHT))
        nginx = enter(process(shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(root / "nginx.conf")))
        urls = [(p.stdout.readline() if p.stdout else "").strip() for p in (sendfile, buffered, flight_server)]
        flight = enter(connect(f"grpc://127.0.0.1:{urls[2]}"))
        client = enter(PartitionClient())
        os.sched_setaffinity(0, {int(CLIENT_CORE)})

        def take(name: str, sample: Sample) -> None:
            samples.setdefault(name, []).append(sample)

        for _ in range(rounds):
            for size, connections in CONNECTIONS.items():
                path = f"{size}.arrow"
                for name, server, url in (("sendfile", sendfile, urls[0]), ("buffered", buffered, urls[1])):
                    take(f"{name} {size}", by_wrk(server.pid, f"{url}{path}/partitions/1", connections, seconds))
                with SpillFile(root / path) as spill:
                    start, end = spill.range_of(1)
                wanted = f"Range: bytes={start}-{end - 1}"
                url = f"http://127.0.0.1:{port}/{path}"
                take(f"nginx {size}", by_wrk(nginx.pid, url, connections, seconds, wanted))
            for size, count in CALLS.items():
                place, ticket = f"{urls[0]}{size}.arrow", Ticket(f"{root}/{size}.arrow#1")
                take(f"fetch {size}", by_calls(sendfile.pid, partial(fetched, client, place), count))
                take(f"Flight {size}", by_calls(flight_server.pid, partial(got, flight, [ticket]), count))
            places = [Place.of(f"{urls[0]}64KiB.arrow", partition) for partition in range(PARTITIONS["64KiB"])]
            tickets = [Ticket(f"{root}/64KiB.arrow#{place.start}") for place in places]
            take(f"fetch {MANY}", by_calls(sendfile.pid, partial(fetched_together, client, places), MANY_CALLS))
            take(f"Flight {MANY}", by_calls(flight_server.pid, partial(got, flight, tickets), MANY_CALLS))
        memory = slow_reader_bytes(sendfile.pid, urls[0])
        urllib.request.urlopen(f"{urls[0]}healthz", timeout=10).close()
    return samples, memory


def figure(samples: dict[str, list[Sample]], name: str, field: str) -> float:
    """The median of one figure."""
    return float(median(getattr(sample, field) for sample in samples[name]))


def results(samples: dict[str, list[Sample]], memory_bytes: int) -> list[list[str]]:
    """What is asked for, what was measured, and whether that is enough."""

    def ratio(field: str, one: str, other: str) -> float:
        return figure(samples, one, field) / max(figure(samples, other, field), 1e-9)

    rate, cpu = "bytes_per_second", "cpu_seconds_per_gib"
    rows: list[tuple[str, float, str, bool | None]] = []
    for size in ("1MiB", "64MiB"):
        value = ratio(rate, f"sendfile {size}", f"nginx {size}")
        rows.append((f"{size}: throughput, × nginx", value, "≥ 0.85", value >= 0.85))
    rows.append(("64KiB: throughput, × nginx", ratio(rate, "sendfile 64KiB", "nginx 64KiB"), "none", None))
    for size in CALLS:
        value = ratio(rate, f"fetch {size}", f"Flight {size}")
        rows.append((f"{size}: throughput, × Flight", value, "≥ 2", value >= 2))
        value = ratio(cpu, f"fetch {size}", f"Flight {size}")
        rows.append((f"{size}: CPU a byte, × Flight", value, "≤ 0.5", value <= 0.5))
    rows.append((f"{MANY} at once: throughput, × Flight", ratio(rate, f"fetch {MANY}", f"Flight {MANY}"), "none", None))
    rows.append((f"{MANY} at once: CPU a byte, × Flight", ratio(cpu, f"fetch {MANY}", f"Flight {MANY}"), "none", None))
    value = figure(samples, "sendfile 16KiB", "requests_per_second")
    rows.append(("16KiB, 64 connections: requests/s", value, "≥ 3000", value >= 3000))
    value = figure(samples, "sendfile 16KiB", "p99_ms") / figure(samples, "sendfile 16KiB", "p50_ms")
    rows.append(("16KiB, 64 connections: p99 / p50", value, "≤ 10", value <= 10))
    for size in ("1MiB", "64MiB"):
        value = ratio(cpu, f"sendfile {size}", f"buffered {size}")
        rows.append((f"{size}: CPU a byte, × buffered", value, "≤ 0.7", value <= 0.7))
    value = memory_bytes / 2**20
    rows.append((f"{SLOW_READERS} slow readers of 64MiB: MiB", value, "≤ 150", value <= 150))
    words = {True: "yes", False: "no", None: ""}
    return [[name, f"{value:.2f}", target, words[met]] for name, value, target, met in rows]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/bench/serve.py",
        description="Measure serving over loopback against nginx, pyarrow Flight and buffered sends. Needs the extra "
        "serve, nginx, wrk, and two cores.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="for how long (default 2)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write serve.md and serve.json there")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; the exit code."""
    arguments = parse_arguments()
    facts = describe_machine("pyarrow", "aiohttp")
    with tempfile.TemporaryDirectory(prefix="shuffle-bench-") as directory:
        root = Path(directory)
        write_files(root)
        samples, memory = measure(root, arguments.rounds, arguments.seconds)
    asked = Table(("figure", "measured", "target", "met"), results(samples, memory)).as_markdown()
    rows = [
        [
            name,
            *(f"{figure(samples, name, f):.0f}" for f in ("requests_per_second",)),
            f"{figure(samples, name, 'bytes_per_second') / 2**20:.0f}",
            f"{figure(samples, name, 'cpu_seconds_per_gib'):.3f}",
        ]
        for name in samples
    ]
    every = Table(("contestant", "requests/s", "MiB/s", "server's CPU s/GiB"), rows).as_markdown()
    markdown = "\n\n".join([markdown_head("Serving over loopback", facts), asked, every])
    print(markdown)
    if arguments.output:
        write_report(arguments.output, "serve", markdown, {"facts": facts, "memory_bytes": memory, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
