"""The client: single partitions, and many of many files, by as few requests as there are servers to ask."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from os import PathLike
from types import TracebackType
from typing import IO, Self, Unpack

import pyarrow as pa

from shuffle.client.arrivals import AbandonedError, Arrivals
from shuffle.client.connections import Connections
from shuffle.client.download import PASSING, Download
from shuffle.client.errors import FetchError
from shuffle.client.exchange import Answer
from shuffle.client.place import Place
from shuffle.client.sinks import FileSink, MemorySink, PipeSink, Sink
from shuffle.option_kinds import options_of
from shuffle.options import FetchKeywords, FetchOptions
from shuffle.wire import MAXIMUM_PART_HEAD_BYTES, MULTIPART_END, MULTIPART_TYPE, decode_part_head
from spill_format.storage.publication import open_pending
from spill_format.stream import decode_stream

_PLACES_A_REQUEST = 64
"""So that a request lost is little lost, and several connections have work."""


class PartitionClient:
    """Fetches partitions; its connections are kept for the next request.

    Args:
        options, keywords: see ``FetchOptions``; each option is also a keyword, as in ``token="…"``.

    Errors of all methods: ``NetworkError`` where a server could not be reached or broke off again and again,
    ``ServerError`` where it answered with something else, ``SpillError`` where the data is at fault. Thread-safe.
    """

    def __init__(self, options: FetchOptions | None = None, **keywords: Unpack[FetchKeywords]) -> None:
        self._options = options_of(FetchOptions, options, keywords)
        self._connections = Connections(self._options)

    def read(
        self, file_url: str, first: int, last: int | None = None, *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of one partition, or of partitions ``first`` … ``last - 1``, of the file at a URL.

        Args:
            file_url: ``http://host:port/file.arrow``.
            first, last: the partitions.
            columns: names of the columns wanted, in the order wanted; None for all. All are transferred.

        Raises:
            ValueError: no such URL can be, or there is no such column.
        """
        place = Place.of(file_url, first, last)
        sink = MemorySink()
        self._download(place, sink)
        return decode_stream(sink.stream, place.url, columns)

    def read_many(self, places: Iterable[Place], *, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of many places, one table each, in the order given.

        Neighbours of one server are asked for together; several requests are on their way at once, within
        ``memory_bytes``.
        """
        wanted = list(places)
        arrivals: Arrivals[MemorySink] = Arrivals(len(wanted), self._options.memory_bytes)
        executor = ThreadPoolExecutor(self._options.connections, "shuffle-fetch")
        try:
            for numbers in _requests(wanted):
                executor.submit(self._fetch_neighbours, wanted, numbers, arrivals)
            for place, sink in zip(wanted, arrivals, strict=True):
                yield decode_stream(sink.stream, place.url, columns)
        finally:
            arrivals.abandon()
            executor.shutdown(wait=True, cancel_futures=True)

    def save(
        self, file_url: str, first: int, last: int | None, target: str | PathLike[str], *, overwrite: bool = False
    ) -> int:
        """Write partitions into a file as an Arrow stream. It appears whole and checked, or not at all.

        Returns:
            Its size in bytes.

        Raises:
            TargetExistsError: the target is there, and ``overwrite`` is off.
            OSError: it cannot be written.
        """
        place = Place.of(file_url, first, last)
        with open_pending(target, overwrite=overwrite) as pending:
            sink = FileSink(pending.descriptor)
            self._download(place, sink)
            pending.publish()
        return sink.received

    def pipe(self, file_url: str, first: int, last: int | None, target: IO[bytes]) -> int:
        """Write partitions to a pipe as an Arrow stream, as they arrive. It has an end only if it was found right.

        Returns:
            How many bytes.

        Raises:
            SpillError: also where the file was replaced on the server after some bytes were passed on.
            OSError: the pipe cannot be written to, or takes nothing.
        """
        place = Place.of(file_url, first, last)
        sink = PipeSink(target)
        self._download(place, sink)
        return sink.received

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _download(self, place: Place, sink: Sink) -> None:
        Download(place, sink, self._connections, self._options).run()

    def _fetch_neighbours(self, wanted: Sequence[Place], numbers: range, arrivals: Arrivals[MemorySink]) -> None:
        """Fetch places of one server, together as long as that works."""
        missing = deque(numbers)
        together = len(numbers) > 1
        try:
            while missing:
                if together:
                    together = self._fetch_together(wanted, missing, arrivals)
                if missing:
                    sink = _RoomySink(missing[0], arrivals)
                    self._download(wanted[missing[0]], sink)
                    arrivals.put(missing.popleft(), sink)
        except AbandonedError:
            pass
        except BaseException as error:  # noqa: BLE001 (whoever waits for these is told)
            for number in missing:
                arrivals.put(number, error)

    def _fetch_together(self, wanted: Sequence[Place], missing: deque[int], arrivals: Arrivals[MemorySink]) -> bool:
        """Make one request for several places; those that arrive are missing no more. Whether another may help.

        Failures of the request are not told: what is missing is fetched alone, and what is wrong said there.

        Raises:
            FetchError, SpillError: of the first that is missing.
        """
        host = wanted[missing[0]].host
        body = json.dumps([wanted[number].path for number in missing]).encode()
        try:
            answer = self._connections.request(host, "POST", "/", {}, body)
            try:
                if answer.status != 200 or answer.field("content-type") != MULTIPART_TYPE:
                    return answer.status in PASSING
                while missing:
                    sink = _RoomySink(missing[0], arrivals)
                    download = Download(wanted[missing[0]], sink, self._connections, self._options)
                    is_whole = _receive_part(download, answer)
                    download.run()  # fetches what is missing
                    arrivals.put(missing.popleft(), sink)
                    if not is_whole:
                        return True
                answer.read_until(MULTIPART_END, len(MULTIPART_END))
            finally:
                self._connections.give_back(host, "POST", answer)
        except FetchError:
            raise
        except (OSError, ValueError):
            pass
        return True


class _RoomySink(MemorySink):
    """Into memory, once there is room."""

    def __init__(self, number: int, arrivals: Arrivals[MemorySink]) -> None:
        super().__init__()
        self._number = number
        self._arrivals = arrivals

    def begin(self, byte_count: int) -> None:
        self._arrivals.make_room(self._number, byte_count)
        super().begin(byte_count)


def fetch(
    url: str,
    first: int | None = None,
    last: int | None = None,
    *,
    columns: Sequence[str] | None = None,
    options: FetchOptions | None = None,
    **keywords: Unpack[FetchKeywords],
) -> pa.Table:
    """Fetch the rows of partitions from a server; ``PartitionClient`` does it again and again, and keeps connections.

    Args:
        url: of a file, or of its partitions: ``http://host:port/file.arrow/partitions/3-6``.
        first, last: the partitions ``first`` … ``last - 1``, by default one, if the URL names none.
        columns: names of the columns wanted, in the order wanted; None for all.
        options, keywords: see ``FetchOptions``; each option is also a keyword.

    Raises:
        ValueError: no such URL can be, it names no partitions or they are named twice, or there is no such column.
        NetworkError: the server could not be reached, or broke off again and again.
        ServerError: it answered with something else.
        SpillError: the data is at fault.
    """
    place = Place.parse(url)
    if (place is None) == (first is None):
        raise ValueError(f"{url}: partitions are named either in the URL or beside it")
    if place is None:
        assert first is not None  # by the line above
        place = Place.of(url, first, last)
    with PartitionClient(options, **keywords) as client:
        return client.read(f"{place.host}{place.file_path}", place.first, place.last, columns=columns)


def _requests(wanted: Sequence[Place]) -> Iterator[range]:
    """The numbers of places that are asked for together: neighbours of one server."""
    start = 0
    for _, neighbours in groupby(wanted, key=lambda place: place.host):
        end = start + sum(1 for _ in neighbours)
        for first in range(start, end, _PLACES_A_REQUEST):
            yield range(first, min(first + _PLACES_A_REQUEST, end))
        start = end


def _receive_part(download: Download, answer: Answer) -> bool:
    """Take one part of an answer. Whether it is whole.

    Raises:
        OSError, ValueError: there is no part, or another one.
    """
    head = decode_part_head(answer.read_until(b"\r\n\r\n", MAXIMUM_PART_HEAD_BYTES))
    if head.location != download.place.path:
        raise ValueError(f"the server sent {head.location} instead of {download.place.path}")
    download.begin(head.byte_count, head.crc32c, head.entity_tag)
    try:
        download.sink.receive(answer, head.byte_count)
    except OSError:
        return False
    return download.is_complete
