"""The client: fetches one range of partitions, or many places of many servers with few requests."""

from __future__ import annotations

import errno
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from os import PathLike
from types import TracebackType
from typing import IO, NamedTuple, Self, Unpack

import pyarrow as pa

from shuffle.client.arrivals import AbandonedError, Arrivals
from shuffle.client.deadline import Deadline
from shuffle.client.download import PASSING, Download
from shuffle.client.errors import FetchError, ServerError
from shuffle.client.exchange import Answer
from shuffle.client.fetched import Fetched
from shuffle.client.place import Host, Place
from shuffle.client.pool import ConnectionPool
from shuffle.client.sinks import FileSink, MemorySink, PipeSink, Sink
from shuffle.http_options import FetchKeywords, FetchOptions
from shuffle.machine.threads import Threads
from shuffle.option_kinds import options_of
from shuffle.wire import MAXIMUM_PART_HEAD_BYTES, MULTIPART_END, MULTIPART_TYPE, PartHead, decode_part_head
from spill_format.errors import SpillError
from spill_format.storage.publication import open_pending
from spill_format.stream import decode_stream

_PLACES_A_REQUEST = 64
"""Places in one request at most: a lost request loses little, and several connections have work."""


class PartitionClient:
    """Fetches partitions from servers, and keeps connections open for the next request. Close the client after use.

    Args:
        options, keywords: see ``FetchOptions``; each option is also a keyword, as in ``token="…"``.

    All methods raise ``NetworkError`` if a server cannot be reached or breaks off at every attempt, ``ServerError`` if
    it answers with an error, ``SpillError`` if the data is damaged. Thread-safe.
    """

    def __init__(self, options: FetchOptions | None = None, **keywords: Unpack[FetchKeywords]) -> None:
        self._options = options_of(FetchOptions, options, keywords)
        self._connections = ConnectionPool(self._options)

    def read(
        self, file_url: str, start: int, stop: int | None = None, *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Fetch the rows of partitions of a file.

        Args:
            file_url: URL of the file, ``http://host:port/file.arrow``.
            start, stop: half-open range of partitions; without ``stop``, partition ``start`` alone.
            columns: names of the columns to return, in this order; None for all. The server sends all columns anyway.

        Raises:
            ValueError: the URL is not a server's, the range is not valid, or there is no such column.
        """
        place = Place.of(file_url, start, stop)
        sink = MemorySink()
        self._download(place, sink)
        return decode_stream(sink.stream, place.url, columns, validate=self._options.validate)

    def read_many(self, places: Iterable[Place], *, columns: Sequence[str] | None = None) -> Iterator[Fetched]:
        """Fetch many places: one ``Fetched`` each, with its rows or its error, in the order given.

        Neighbouring places of one server share a request; several requests run at once, within ``memory_bytes``. An
        error in one place does not stop the other places. If a server cannot be reached, or stays busy, all its
        missing places get that error at once.
        """
        wanted = list(places)
        deadline = Deadline(self._options.deadline_seconds)
        arrivals: Arrivals[MemorySink] = Arrivals(len(wanted), self._options.memory_bytes, deadline)
        call = _Call(wanted, arrivals, deadline, {})
        threads = Threads(self._options.connections, "shuffle-fetch")
        try:
            for numbers in _requests(wanted):
                if threads.start(self._fetch_neighbours, call, numbers) is None:
                    raise OSError(errno.EAGAIN, "not a single thread can be started to fetch with")
            for place, arrived in zip(wanted, arrivals, strict=True):
                yield self._decoded(place, arrived, columns)
        finally:
            arrivals.abandon()
            threads.close()

    def save(
        self, file_url: str, start: int, stop: int | None, target: str | PathLike[str], *, overwrite: bool = False
    ) -> int:
        """Write partitions into a file as an Arrow stream. The file appears whole and checked, or not at all.

        Returns:
            Size of the file in bytes.

        Raises:
            TargetExistsError: the target exists, and ``overwrite`` is off.
            OSError: the target cannot be written.
        """
        place = Place.of(file_url, start, stop)
        with open_pending(target, overwrite=overwrite) as pending:
            sink = FileSink(pending.descriptor, validate=self._options.validate)
            self._download(place, sink)
            pending.publish()
        return sink.received

    def pipe(self, file_url: str, start: int, stop: int | None, target: IO[bytes]) -> int:
        """Write partitions to a pipe as an Arrow stream; each message is checked as it arrives, then passed on.

        If this call fails, the stream in the pipe ends within a message, which every reader reports as an error. The
        caller closes the pipe.

        Returns:
            Bytes written to the pipe.

        Raises:
            SpillError: also where the file was replaced on the server after some bytes were passed on.
            OSError: the pipe cannot be written to, or accepts no byte.
        """
        place = Place.of(file_url, start, stop)
        sink = PipeSink(target, place.url, validate=self._options.validate)
        self._download(place, sink)
        return sink.received

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _download(self, place: Place, sink: Sink, deadline: Deadline | None = None) -> None:
        deadline = deadline or Deadline(self._options.deadline_seconds)
        Download(place, sink, self._connections, self._options, deadline).run()

    def _decoded(self, place: Place, arrived: MemorySink | Exception, columns: Sequence[str] | None) -> Fetched:
        if isinstance(arrived, Exception):
            return Fetched(place, arrived, None)
        try:
            table = decode_stream(arrived.stream, place.url, columns, validate=self._options.validate)
        except (SpillError, ValueError, MemoryError) as error:
            return Fetched(place, error, None)
        return Fetched(place, None, table)

    def _fetch_neighbours(self, call: _Call, numbers: range) -> None:
        """Fetch places of one server, together as long as that works; every place gets its rows or an error."""
        missing = deque(numbers)
        together = len(numbers) > 1
        host = call.wanted[numbers[0]].host
        try:
            while missing:
                call.check_host(host)
                if together:
                    together = self._fetch_together(call, missing)
                if missing:
                    sink = _RoomySink(missing[0], call.arrivals)
                    call.settle(missing, sink, partial(self._download, call.wanted[missing[0]], sink, call.deadline))
        except AbandonedError:
            pass
        except FetchError as error:
            call.lost[host] = error
            for number in missing:
                call.arrivals.put(number, error.of_url(call.wanted[number].url))
        except BaseException as error:  # noqa: BLE001 (a fault of ours must not leave the caller waiting)
            for number in missing:
                call.arrivals.put(number, error if isinstance(error, Exception) else RuntimeError(str(error)))

    def _fetch_together(self, call: _Call, missing: deque[int]) -> bool:
        """Make one request for several places; drop arrived places from ``missing``. Return whether to try again.

        Failures of the request are not raised: a missing place is then fetched alone, which tells what is wrong.

        Raises:
            FetchError: the server cannot be reached any more, or stays busy.
        """
        host = call.wanted[missing[0]].host
        body = json.dumps([call.wanted[number].path for number in missing]).encode()
        try:
            answer = self._connections.request(host, "POST", "/", {}, body, call.deadline)
            try:
                if answer.status != 200 or answer.field("content-type") != MULTIPART_TYPE:
                    return answer.status in PASSING
                while missing:
                    place = call.wanted[missing[0]]
                    sink = _RoomySink(missing[0], call.arrivals)
                    download = Download(place, sink, self._connections, self._options, call.deadline)
                    head = _part_head(answer, place)
                    if not call.settle(missing, sink, partial(_complete_part, download, answer, head)):
                        return True  # the remaining bytes of the answer cannot be read
                answer.read_until(MULTIPART_END, len(MULTIPART_END))
            finally:
                self._connections.give_back(host, "POST", answer)
        except FetchError:
            raise
        except (OSError, ValueError):
            pass
        return True


class _Call(NamedTuple):
    """One call of ``read_many``.

    Attributes:
        wanted: all places.
        arrivals: result of each place.
        deadline: deadline of the call.
        lost: servers that cannot be reached any more, or stay busy, with the error of each.
    """

    wanted: Sequence[Place]
    arrivals: Arrivals[MemorySink]
    deadline: Deadline
    lost: dict[Host, FetchError]

    def check_host(self, host: Host) -> None:
        """Raise the error of a lost server; do nothing for other servers."""
        if host in self.lost:
            raise self.lost[host]

    def settle(self, missing: deque[int], sink: MemorySink, fetch: Callable[[], object]) -> bool:
        """Fetch the first missing place into a sink, and store its result. Return whether the answer can be read on.

        Raises:
            FetchError: the server cannot be reached any more, or stays busy.
        """
        try:
            is_whole = fetch()
        except (SpillError, ServerError, MemoryError) as error:
            if isinstance(error, ServerError) and error.status in PASSING:
                raise
            self.arrivals.put(missing.popleft(), error)
            return False
        self.arrivals.put(missing.popleft(), sink, _memory_of(sink))
        return is_whole is not False


class _RoomySink(MemorySink):
    """A sink in memory that waits until there is room."""

    def __init__(self, number: int, arrivals: Arrivals[MemorySink]) -> None:
        super().__init__()
        self._number = number
        self._arrivals = arrivals

    def begin(self, byte_count: int) -> None:
        self._arrivals.make_room(self._number, byte_count)
        super().begin(byte_count)


def fetch(
    url: str,
    start: int | None = None,
    stop: int | None = None,
    *,
    columns: Sequence[str] | None = None,
    options: FetchOptions | None = None,
    **keywords: Unpack[FetchKeywords],
) -> pa.Table:
    """Fetch the rows of partitions from a server. For many calls, ``PartitionClient`` keeps connections open.

    Args:
        url: URL of a file, or of partitions: ``http://host:port/file.arrow/partitions/3-6``, which includes 6.
        start, stop: half-open range of partitions, for a URL of a file; without ``stop``, partition ``start`` alone.
        columns: names of the columns to return, in this order; None for all.
        options, keywords: see ``FetchOptions``; each option is also a keyword.

    Raises:
        ValueError: the URL is not a server's, partitions are named twice or never, or there is no such column.
        NetworkError: the server cannot be reached, or breaks off at every attempt.
        ServerError: the server answers with an error.
        SpillError: the data is damaged.
    """
    place = Place.parse(url)
    if (place is None) == (start is None):
        raise ValueError(f"{url}: partitions are named either in the URL or beside it")
    if place is None:
        assert start is not None  # by the line above
        place = Place.of(url, start, stop)
    with PartitionClient(options, **keywords) as client:
        return client.read(f"{place.host}{place.file_path}", place.start, place.stop, columns=columns)


def _requests(wanted: Sequence[Place]) -> Iterator[range]:
    """Yield the numbers of places that share a request: neighbours of one server."""
    start = 0
    for _, neighbours in groupby(wanted, key=lambda place: place.host):
        stop = start + sum(1 for _ in neighbours)
        for number in range(start, stop, _PLACES_A_REQUEST):
            yield range(number, min(number + _PLACES_A_REQUEST, stop))
        start = stop


def _part_head(answer: Answer, place: Place) -> PartHead:
    """Read the head of the next part of an answer.

    Raises:
        OSError, ValueError: there is no further part, or it is not of this place.
    """
    head = decode_part_head(answer.read_until(b"\r\n\r\n", MAXIMUM_PART_HEAD_BYTES))
    if head.location != place.path:
        raise ValueError(f"the server sent {head.location} instead of {place.path}")
    return head


def _complete_part(download: Download, answer: Answer, head: PartHead) -> bool:
    """Take one part of an answer, and fetch its missing bytes alone. Return whether no byte was missing."""
    download.begin(head.byte_count, head.crc32c, head.entity_tag)
    with suppress(OSError):
        download.sink.receive(answer, head.byte_count)
    is_whole = download.is_complete
    download.run()
    return is_whole


def _memory_of(sink: MemorySink) -> int:
    """Return the bytes of a stream, or of its decompressed rows if they are more."""
    try:
        return max(sink.received, sink.decompressed_bytes())
    except ValueError:  # decoding reports the error
        return sink.received
