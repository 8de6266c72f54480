"""One stream from a server into a sink: asked for, resumed where it broke off, asked for again, checked.

What a failure means is decided here, in one place: what is the network's is tried again, what the server says is not.
"""

from __future__ import annotations

import http.client
import random
import re
import time
from collections.abc import Mapping

from shuffle.client.connections import Connections
from shuffle.client.errors import FetchError, NetworkError, ServerError
from shuffle.client.place import Place
from shuffle.client.sinks import Sink
from shuffle.config import FetchOptions
from shuffle.wire import CHECKSUM_HEADER
from spill_format.errors import SpillError

MAXIMUM_BACKOFF_SECONDS = 30.0
BROKEN = (OSError, http.client.HTTPException)
"""What the network does to a request."""

PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses that will pass."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)", re.ASCII)
_DAMAGED_ATTEMPTS = 2
"""A stream of the wrong checksum is fetched once more: the network, or memory, may have been at fault."""


class Patience:
    """Counts the failures of one request that got it no further, and waits between them."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._failures = 0

    def progress(self) -> None:
        """Some bytes arrived: begin to count anew."""
        self._failures = 0

    def failed(self, error: FetchError, retry_after: str | None = None) -> None:
        """Wait, or give up.

        Raises:
            FetchError: ``error``, if this was the last attempt.
        """
        self._failures += 1
        if self._failures >= self._options.attempts:
            raise error
        longest = min(self._options.backoff_seconds * 2 ** (self._failures - 1), MAXIMUM_BACKOFF_SECONDS)
        wanted = 0.0
        if retry_after is not None and retry_after.isdecimal():
            wanted = min(float(retry_after), MAXIMUM_BACKOFF_SECONDS)
        time.sleep(wanted + longest * random.uniform(0.5, 1))  # jitter: else all clients of a lost server come at once


class Download:
    """A stream on its way.

    Args:
        place: what is fetched.
        sink: where to.
        connections: of the client.
        options: of the client.
    """

    def __init__(self, place: Place, sink: Sink, connections: Connections, options: FetchOptions) -> None:
        self.place = place
        self.sink = sink
        self.byte_count = 0
        """Of the stream, once known."""
        self._connections = connections
        self._options = options
        self._entity_tag: str | None = None
        self._crc32c: int | None = None

    def begin(self, byte_count: int, recorded_crc32c: int, entity_tag: str | None) -> None:
        """A stream begins to arrive.

        Raises:
            OSError: the sink cannot begin anew.
        """
        self.sink.begin(byte_count)
        self.byte_count = byte_count
        self._crc32c = recorded_crc32c
        self._entity_tag = entity_tag

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there."""
        return self._crc32c is not None and self.sink.received == self.byte_count

    def run(self) -> None:
        """Fetch what is missing, and check the whole.

        Raises:
            NetworkError, ServerError: it did not arrive.
            SpillError: what arrived is not what the server's file recorded.
        """
        for attempt in range(_DAMAGED_ATTEMPTS):
            self._complete()
            assert self._crc32c is not None  # known with the first byte
            try:
                self.sink.finish(self._crc32c, self.place.url)
            except SpillError:
                if attempt + 1 == _DAMAGED_ATTEMPTS or not self.sink.can_restart:
                    raise
                self._crc32c = self._entity_tag = None
            else:
                return

    def _complete(self) -> None:
        patience = Patience(self._options)
        while not self.is_complete:
            before = self.sink.received
            retry_after = None
            try:
                retry_after, failure = self._attempt()
            except BROKEN as error:
                if isinstance(error, FetchError):
                    raise
                failure = NetworkError(self.place.url, f"the network failed: {describe(error)}{self._progress_text()}")
            if self._crc32c is not None and self.sink.received > before:
                patience.progress()
            if failure is not None and not self.is_complete:
                patience.failed(failure, retry_after)

    def _attempt(self) -> tuple[str | None, FetchError | None]:
        """One request. When to come back, and what was wrong, if anything."""
        place = self.place
        connection, response = self._connections.request(place.host, "GET", place.path, self._request_headers())
        try:
            if response.status in PASSING:
                return response.getheader("Retry-After"), refusal(place.url, response)
            if (failure := self._take_head(response)) is not None:
                return None, failure
            self.sink.receive(response, connection, self.byte_count)
            response.close()
            if not self.is_complete:
                return None, NetworkError(place.url, f"the connection broke off{self._progress_text()}")
            self._connections.give_back(place.host, connection)
            return None, None
        finally:
            if not self.is_complete:
                connection.close()

    def _request_headers(self) -> Mapping[str, str]:
        if self._crc32c is None or self._entity_tag is None or not self.sink.received:
            return {}
        return {"Range": f"bytes={self.sink.received}-", "If-Range": self._entity_tag}

    def _take_head(self, response: http.client.HTTPResponse) -> ServerError | None:
        """Begin the stream, or go on with it. What is wrong with the answer, if that may be because it was cut off:
        ``http.client`` takes the fields up to there for all.

        Raises:
            ServerError: the server refused.
        """
        url = self.place.url
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range", ""))
            if match is None or (int(match[1]), int(match[2])) != (self.sink.received, self.byte_count):
                return ServerError(url, "the server answered another range of bytes than it was asked for", 206)
            return None
        if response.status != 200:
            raise refusal(url, response)
        byte_count = response.length  # the last field that is needed: those before it are whole
        if byte_count is None:
            return ServerError(url, "this is no server of partitions: no length", 200)
        try:
            recorded = int(response.getheader(CHECKSUM_HEADER, ""), 16)
        except ValueError:
            return ServerError(url, "this is no server of partitions: no checksum", 200)
        self.begin(byte_count, recorded, response.getheader("ETag"))
        return None

    def _progress_text(self) -> str:
        if self._crc32c is None:
            return ""
        return f", {self.sink.received} of {self.byte_count} bytes had arrived"


def refusal(url: str, response: http.client.HTTPResponse) -> ServerError:
    """What a server says that does not do what it was asked."""
    text = response.read(500).decode("utf-8", "replace").partition("\n")[0]
    said = f": {text}" if text and "<" not in text else ""
    return ServerError(url, f"the server answered {response.status} {response.reason}{said}", response.status)


def describe(error: BaseException) -> str:
    """An error of the network in words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
