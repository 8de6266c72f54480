"""One stream from a server into a sink: requested, resumed where it broke off, and checked.

This module alone decides what a failure means: faults of the network are tried again, a server's refusal is not.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping

from shuffle.client.deadline import NEVER, Deadline
from shuffle.client.errors import FetchError, NetworkError, ServerError
from shuffle.client.exchange import Answer
from shuffle.client.place import Place
from shuffle.client.pool import ConnectionPool
from shuffle.client.sinks import Sink, SinkError
from shuffle.http_options import FetchOptions
from shuffle.wire import CHECKSUM_HEADER
from shuffle.wording import sized
from spill_format.errors import ChecksumError, SpillError

MAXIMUM_BACKOFF_SECONDS = 30.0
PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses of answers after which another attempt may succeed."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", re.ASCII)
_DAMAGED_ATTEMPTS = 2
"""Attempts at a stream whose checksum, or a message's, is wrong: the network or memory may be at fault."""


class Patience:
    """Counts failures without a new byte, and waits after each."""

    def __init__(self, options: FetchOptions, deadline: Deadline) -> None:
        self._options = options
        self._deadline = deadline
        self._failures = 0

    def progress(self) -> None:
        """Start counting again: some bytes arrived."""
        self._failures = 0

    def failed(self, error: FetchError, retry_after: str = "") -> None:
        """Wait before the next attempt, or give up.

        Raises:
            FetchError: ``error``, if this was the last attempt, or the deadline would pass while waiting.
        """
        self._failures += 1
        if self._failures >= self._options.attempts:
            raise error
        longest = min(self._options.backoff_seconds * 2 ** (self._failures - 1), MAXIMUM_BACKOFF_SECONDS)
        wanted = 0.0
        if retry_after.isdecimal():
            wanted = min(float(retry_after), MAXIMUM_BACKOFF_SECONDS)
        wait = wanted + longest * random.uniform(
            0.5, 1
        )  # jitter: clients of a server that is back must not all ask at once
        if wait >= self._deadline.left():
            raise error
        time.sleep(wait)


class Download:
    """The download of one stream.

    Args:
        place: the partitions to fetch.
        sink: takes the stream.
        connections, options: the client's.
        deadline: until when the whole call must end.
    """

    def __init__(
        self,
        place: Place,
        sink: Sink,
        connections: ConnectionPool,
        options: FetchOptions,
        deadline: Deadline = NEVER,
    ) -> None:
        self.place = place
        self.sink = sink
        self.byte_count: int = 0
        """Length of the stream, once it is known."""
        self._connections = connections
        self._options = options
        self._deadline = deadline
        self._entity_tag = ""
        self._crc32c: int | None = None

    def begin(self, byte_count: int, recorded_crc32c: int, entity_tag: str) -> None:
        """Take the facts of a stream that begins to arrive.

        Raises:
            ChecksumError: the server's checksum is not the one that the place expects.
            SinkError: the sink cannot begin again.
            MemoryError: the stream does not fit into memory.
        """
        if self.place.crc32c not in {None, recorded_crc32c}:
            raise ChecksumError(
                "CRC-32C that the server has for these partitions",
                path=self.place.url,
                expected=f"{self.place.crc32c:08x}",
                actual=f"{recorded_crc32c:08x}",
            )
        try:
            self.sink.begin(byte_count)
        except (MemoryError, OverflowError) as error:
            raise MemoryError(
                f"{self.place.url}: {sized(byte_count)} do not fit into memory; save them into a file"
            ) from error
        self.byte_count = byte_count
        self._crc32c = recorded_crc32c
        self._entity_tag = entity_tag

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self._crc32c is not None and self.sink.received == self.byte_count

    def run(self) -> None:
        """Fetch the bytes that are missing, and check the whole stream.

        Raises:
            NetworkError, ServerError: the stream did not arrive.
            SpillError: the stream is not the one that the server's file records.
            OSError: the sink cannot write it.
        """
        for attempt in range(_DAMAGED_ATTEMPTS):
            try:
                self._complete()
                assert self._crc32c is not None  # known with the first byte
                self.sink.finish(self._crc32c, self.place.url)
            except SinkError as error:
                raise error.failure from None
            except SpillError:
                if attempt + 1 == _DAMAGED_ATTEMPTS or not self._can_resume_damaged():
                    raise
            else:
                return

    def _can_resume_damaged(self) -> bool:
        """Let the sink forget damaged bytes; return whether the server can be asked for them again."""
        self.sink.forget()
        if self.sink.received:
            return bool(self._entity_tag) and not self.is_complete
        self._crc32c, self._entity_tag = None, ""
        return True

    def _complete(self) -> None:
        patience = Patience(self._options, self._deadline)
        while not self.is_complete:
            before = self.sink.received
            retry_after = ""
            try:
                retry_after, failure = self._attempt()
            except OSError as error:
                if isinstance(error, FetchError) or error.filename is not None:  # of a token or a certificate
                    raise
                failure = NetworkError(self.place.url, f"the network failed: {describe(error)}{self._progress_text()}")
            if self._crc32c is not None and self.sink.received > before:
                patience.progress()
            if failure is not None and not self.is_complete:
                patience.failed(failure, retry_after)

    def _attempt(self) -> tuple[str, FetchError | None]:
        """Make one request; return the server's Retry-After, and the failure if there was one."""
        place = self.place
        fields = self._request_fields()
        answer = self._connections.request(place.host, "GET", place.path, fields, deadline=self._deadline)
        try:
            if answer.status in PASSING:
                return answer.field("retry-after"), refusal(place.url, answer)
            if (failure := self._take_head(answer)) is not None:
                return "", failure
            self.sink.receive(answer, self.byte_count)
            if not self.is_complete:
                return "", NetworkError(place.url, f"the connection broke off{self._progress_text()}")
            return "", None
        finally:
            self._connections.give_back(place.host, "GET", answer)

    def _request_fields(self) -> Mapping[str, str]:
        if self._crc32c is None or not self._entity_tag or not self.sink.received:
            return {}
        return {"Range": f"bytes={self.sink.received}-", "If-Range": self._entity_tag}

    def _take_head(self, answer: Answer) -> ServerError | None:
        """Begin the stream, or go on with it; return what is wrong with the answer, if another attempt may help.

        Raises:
            ServerError: the server refused.
        """
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.field("content-range"))
            if match is None or (int(match[1]), int(match[2])) != (self.sink.received, self.byte_count):
                return ServerError(
                    self.place.url, "the server answered another range of bytes than it was asked for", 206
                )
            return None
        if answer.status != 200:
            raise refusal(self.place.url, answer)
        byte_count = answer.byte_count
        if byte_count is None:
            return ServerError(self.place.url, "this is no server of partitions: no length", 200)
        try:
            recorded = int(answer.field(CHECKSUM_HEADER.lower()), 16)
        except ValueError:
            return ServerError(self.place.url, "this is no server of partitions: no checksum", 200)
        self.begin(byte_count, recorded, answer.field("etag"))
        return None

    def _progress_text(self) -> str:
        if self._crc32c is None:
            return ""
        return f", {self.sink.received:,} of {self.byte_count:,} bytes had arrived"


def refusal(url: str, answer: Answer) -> ServerError:
    """Return the error that an answer other than 200 or 206 stands for."""
    text = answer.read_until(b"\n", 500).decode("utf-8", "replace").strip()
    said = f": {text}" if text and "<" not in text else ""
    return ServerError(url, f"the server answered {answer.status} {answer.reason}{said}", answer.status)


def describe(error: BaseException) -> str:
    """Return an error of the network in words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
