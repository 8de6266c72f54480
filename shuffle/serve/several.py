"""A request for several places: which they are, and the parts of its answer, one a place.

All parts are described before the first one is sent, since an answer says how long it is. Their files are opened again
one after the other, as they are sent: a request may name more of them than there are descriptors.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Generator, Sequence
from itertools import groupby
from typing import NamedTuple

from aiohttp import web
from aiohttp.http import HttpProcessingError

from shuffle.serve.catalog import Catalog, OpenFile, ServedFile
from shuffle.serve.refusal import Refusal
from shuffle.serve.representation import PartitionsStream, Segment
from shuffle.serve.resource import NoResourceError, PartitionsResource, parse
from shuffle.serve.turns import Stint
from shuffle.wire import MULTIPART_END, PartHead, encode_part_head

MAXIMUM_PLACES = 1000
"""Places that one request may ask for."""


class AskedPlace(NamedTuple):
    """Partitions that a request asks for.

    Attributes:
        location: their path, as it stands in the request.
        resource: what it names.
    """

    location: str
    resource: PartitionsResource


class Part(NamedTuple):
    """The part of an answer for one place.

    Attributes:
        head: what precedes the stream.
        stream: of files that may be closed.
    """

    head: bytes
    stream: PartitionsStream

    @property
    def byte_count(self) -> int:
        """Of head and stream."""
        return len(self.head) + self.stream.byte_count


async def places_asked(request: web.BaseRequest, patience_seconds: float) -> list[AskedPlace]:
    """The places that a request's body lists.

    Raises:
        Refusal: the body does not arrive in time or whole, is too large, or is no list of places.
    """
    try:
        async with asyncio.timeout(patience_seconds):
            body = await request.read()
    except TimeoutError as error:
        raise Refusal(408, "the request's body did not arrive in time", Connection="close") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal(413, "the request's body is too large", Connection="close") from error
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        raise Refusal(400, "the request's body is cut off, or not encoded as it says", Connection="close") from error
    try:
        locations = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body must be a JSON list of paths") from error
    if not isinstance(locations, list) or not locations or not all(isinstance(path, str) for path in locations):
        raise Refusal(400, "the body must be a JSON list of paths")
    if len(locations) > MAXIMUM_PLACES:
        raise Refusal(413, f"one request may ask for {MAXIMUM_PLACES} places, not {len(locations)}")
    return [AskedPlace(location, _partitions_named(location)) for location in locations]


async def parts_of(
    places: Sequence[AskedPlace],
    open_file: Callable[[str], Awaitable[ServedFile]],
    stream_of: Callable[[ServedFile, PartitionsResource], Awaitable[PartitionsStream]],
) -> list[Part]:
    """The parts of an answer. Their files are released, and what describes them forgotten.

    Args:
        places: what was asked for.
        open_file: opens the file of a name, to be released.
        stream_of: describes the stream of partitions of an open file.

    Raises:
        Refusal: there is no such place.
    """
    parts = []
    stint = Stint()
    for name, neighbours in groupby(places, key=lambda place: place.resource.name):
        with await open_file(name) as file:
            reference = OpenFile(name, -1, file.identity)
            for location, resource in neighbours:
                stream = await stream_of(file, resource)
                head = encode_part_head(PartHead(location, stream.byte_count, stream.crc32c, stream.entity_tag))
                start, span, end = stream.segments
                parts.append(Part(head, stream._replace(segments=(start, span._replace(file=reference), end))))
                if stint.is_over():
                    await stint.rest()
    return parts


def segments_of(parts: Sequence[Part], catalog: Catalog) -> Generator[Segment, None, None]:
    """The bytes of an answer; the file of a segment is open until the next one is asked for.

    Raises:
        SpillError: a file was replaced, or written, since it was described.
        OSError: it cannot be opened again.
    """
    for head, stream in parts:
        schema_message, span, end_of_stream = stream.segments
        yield head
        yield schema_message
        with catalog.reopen(span.file) as file:
            yield span._replace(file=file)
        yield end_of_stream
    yield MULTIPART_END


def _partitions_named(location: str) -> PartitionsResource:
    try:
        resource = parse(location) if location.isascii() else None
    except NoResourceError as error:
        raise Refusal(404, str(error)) from error
    if not isinstance(resource, PartitionsResource) or not location.isprintable():
        raise Refusal(400, "each path must name partitions, percent-encoded: /a.arrow/partitions/3-6")
    return resource
