"""Counters and gauges of a server, in the text format of Prometheus."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED_DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the directory in which several processes share their figures; read when prometheus_client is imported."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
BROKEN_OFF = "broken-off"
"""Status in the figures of an answer that ended before its last byte."""


class ServerMetrics:
    """The figures of one server; of a server with several workers, the sums over all workers."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("shuffle_http_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "shuffle_http_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "shuffle_http_connections_refused", "Connections beyond a limit.", ["limit"], registry=registry
        )
        self._sent = Counter("shuffle_file_sent_bytes", "Bytes of files sent, by how.", ["method"], registry=registry)
        self._sent_before: dict[str, int] = {}
        self._now = {
            name: Gauge(f"shuffle_{name}", text, registry=registry, multiprocess_mode="livesum")
            for name, text in (
                ("http_connections", "Connections that are open."),
                ("http_sends", "Answers being sent."),
                ("open_files", "Files that are kept open."),
                ("known_layout_bytes", "Memory of the layouts of files that are kept open."),
            )
        }
        self._by_request: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        if SHARED_DIRECTORY_VARIABLE in os.environ:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            self._registry.register(_Processes(Path(os.environ[SHARED_DIRECTORY_VARIABLE])))
        else:
            ProcessCollector(registry=registry)

    def answered(self, route: str, status: str, seconds: float) -> None:
        """Count a request and the seconds that its answer took."""
        figures = self._by_request.get((route, status))
        if figures is None:  # a label's look-up costs as much as a system call
            figures = self._requests.labels(route, status), self._seconds.labels(route)
            self._by_request[route, status] = figures
        figures[0].inc()
        figures[1].observe(seconds)

    def refused(self, limit: str) -> None:
        """Count a connection that is beyond a limit."""
        self._refused.labels(limit).inc()

    def update(self, bytes_by_method: dict[str, int], now: dict[str, int]) -> None:
        """Take the bytes sent by each method so far, and the momentary figures as they are now."""
        for method, count in bytes_by_method.items():
            self._sent.labels(method).inc(count - self._sent_before.get(method, 0))
            self._sent_before[method] = count
        for name, count in now.items():
            self._now[name].set(count)

    def render(self) -> bytes:
        """Return all figures as text."""
        return generate_latest(self._registry)


class _Processes(Collector):
    """The figures ``process_…``, summed over all workers; their start time is the earliest one.

    Args:
        directory: directory with one file of momentary figures for each living worker.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """See ``Collector``."""
        summed: dict[str, Metric] = {}
        for file in self._directory.glob("gauge_livesum_*.db"):
            pid = file.stem.rpartition("_")[2]
            for figure in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                (sample,) = figure.samples
                before = summed.setdefault(figure.name, figure).samples
                if before is not figure.samples:
                    combine = min if figure.name.endswith("start_time_seconds") else operator.add
                    before[0] = sample._replace(value=combine(before[0].value, sample.value))
        return summed.values()
