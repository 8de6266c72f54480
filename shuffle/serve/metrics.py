"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class ServerMetrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "shuffle_requests", "Requests answered, by status.", ["status"], registry=self._registry
        )
        self._seconds = Histogram(
            "shuffle_request_seconds", "From a request's head to the last byte of its answer.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.broken_off = Counter(
            "shuffle_answers_broken_off", "Answers that ended before their last byte.", registry=self._registry
        )
        self.refused = Counter("shuffle_connections_refused", "Connections beyond the limit.", registry=self._registry)
        self._bytes = Gauge(
            "shuffle_file_bytes_sent", "Bytes of files sent, by how.", ["method"], registry=self._registry
        )
        self._state = Gauge("shuffle_now", "What there is at the moment.", ["what"], registry=self._registry)
        self._by_status: dict[int, Counter] = {}

    def answered(self, status: int, seconds: float) -> None:
        """Count a request."""
        counter = self._by_status.get(status)
        if counter is None:  # a label's look-up costs as much as a system call
            counter = self._by_status[status] = self._requests.labels(str(status))
        counter.inc()
        self._seconds.observe(seconds)

    def render(self, bytes_by_method: dict[str, int], state: dict[str, int]) -> bytes:
        """All figures, with bytes sent and momentary counts as they are now."""
        for method, count in bytes_by_method.items():
            self._bytes.labels(method).set(count)
        for what, count in state.items():
            self._state.labels(what).set(count)
        return generate_latest(self._registry)
