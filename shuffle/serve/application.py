"""What each request is answered with.

Names are ``resource.py``'s, ranges and conditions ``conditions.py``'s, files the catalog's, bytes the sender's; here
they are put together.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources
from typing import Any

from aiohttp import web

from shuffle.config import ServeOptions
from shuffle.serve.catalog import Catalog, ServedFile
from shuffle.serve.conditions import evaluate
from shuffle.serve.metrics import CONTENT_TYPE, ServerMetrics
from shuffle.serve.representation import (
    FileSpan,
    PartitionsStream,
    Segment,
    byte_count_of,
    cut,
    partitions_stream,
)
from shuffle.serve.resource import (
    FileResource,
    Health,
    Listing,
    Metrics,
    NoResourceError,
    PartitionsResource,
    parse,
)
from shuffle.serve.transfer import Sender
from shuffle.wire import (
    CHECKSUM_HEADER,
    MULTIPART_END,
    MULTIPART_TYPE,
    ROWS_HEADER,
    STREAM_TYPE,
    PartHead,
    encode_part_head,
)
from spill_format.errors import NotPartitionedError, SpillError

MAXIMUM_PLACES = 1000
"""Of one request for several."""

_LOGGER = logging.getLogger("shuffle.serve")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}


class Refusal(Exception):  # noqa: N818 (an answer, not a fault)
    """A request is answered with an error's status and one line of text."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _StreamedResponse(web.StreamResponse):
    """Its head goes out with the first bytes of its body that are in memory: a system call and a packet less."""

    _send_headers_immediately = False


class Application:
    """Answers requests for the files of a catalog. All but the catalog's slow methods run in the event loop's thread.

    Attributes:
        metrics: what is counted.
        connection_count: how many there are; kept by whoever accepts them.
    """

    def __init__(self, catalog: Catalog, options: ServeOptions) -> None:
        self.metrics = ServerMetrics()
        self.connection_count = 0
        self._catalog = catalog
        self._options = options
        self._sender = Sender(options.transfer_to, options.buffer_bytes, options.idle_seconds)
        self._sends = asyncio.Semaphore(options.sends)
        self._sending_count = 0
        self._page = resources.files("shuffle.serve").joinpath("page.html").read_bytes()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        began = time.monotonic()
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = web.Response(status=refusal.status, text=f"{refusal.reason}\n", headers=refusal.headers)
        self.metrics.answered(response.status, time.monotonic() - began)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            resource = parse(request.raw_path)
        except NoResourceError as error:
            raise Refusal(404, str(error)) from error
        if not (isinstance(resource, Health) or (isinstance(resource, Listing) and _is_browser(request))):
            self._check_token(request)
        if isinstance(resource, Listing) and request.method == "POST":
            return await self._several(request)
        allowed = "GET, HEAD, POST" if isinstance(resource, Listing) else "GET, HEAD"
        if request.method not in allowed.split(", "):
            raise Refusal(405, f"{request.method} is not allowed here: {allowed} are", Allow=allowed)
        match resource:
            case PartitionsResource():
                return await self._partitions(request, resource)
            case FileResource():
                return await self._layout(resource)
            case Metrics():
                return self._figures()
            case Health():
                return web.Response(text="ok\n")
        return self._page_answer() if _is_browser(request) else await self._listing()

    def _check_token(self, request: web.BaseRequest) -> None:
        if self._options.token is None:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = self._options.token.encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected):
            raise Refusal(401, "a bearer token is needed, and the right one", WWW_Authenticate="Bearer")

    async def _partitions(self, request: web.BaseRequest, resource: PartitionsResource) -> web.StreamResponse:
        async with self._file(resource.name) as file:
            stream = _stream_of(file, resource)
            entity_tag = _entity_tag(file, stream)
            answer = evaluate(request.headers, entity_tag, stream.byte_count)
            headers = {
                "ETag": entity_tag,
                "Accept-Ranges": "bytes",
                "Content-Type": STREAM_TYPE,
                CHECKSUM_HEADER: f"{stream.crc32c:08x}",
                ROWS_HEADER: str(stream.row_count),
            }
            if answer.status == 416:
                headers["Content-Range"] = f"bytes */{stream.byte_count}"
            if answer.status in {304, 412, 416}:
                return web.Response(status=answer.status, headers=headers)
            if answer.status == 206:
                headers["Content-Range"] = f"bytes {answer.first}-{answer.last - 1}/{stream.byte_count}"
            segments = list(cut(stream.segments, answer.first, answer.last))
            return await self._send(request, answer.status, headers, segments)

    async def _several(self, request: web.BaseRequest) -> web.StreamResponse:
        """One answer with the streams of several places, in the order in which they were asked for."""
        resources_asked = await self._places(request)
        segments: list[Segment] = []
        async with AsyncExitStack() as stack:
            files: dict[str, ServedFile] = {}
            for location, resource in resources_asked:
                if resource.name not in files:
                    files[resource.name] = await stack.enter_async_context(self._file(resource.name))
                stream = _stream_of(files[resource.name], resource)
                entity_tag = _entity_tag(files[resource.name], stream)
                segments.append(encode_part_head(PartHead(location, stream.byte_count, stream.crc32c, entity_tag)))
                segments += stream.segments
            segments.append(MULTIPART_END)
            return await self._send(request, 200, {"Content-Type": MULTIPART_TYPE}, segments)

    async def _places(self, request: web.BaseRequest) -> list[tuple[str, PartitionsResource]]:
        try:
            async with asyncio.timeout(self._options.header_seconds):
                locations = json.loads(await request.read())
        except TimeoutError as error:
            raise Refusal(408, "the request's body did not arrive in time", Connection="close") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise Refusal(413, "the request's body is too large", Connection="close") from error
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "the body must be a JSON list of paths") from error
        if not isinstance(locations, list) or not locations or not all(isinstance(path, str) for path in locations):
            raise Refusal(400, "the body must be a JSON list of paths")
        if len(locations) > MAXIMUM_PLACES:
            raise Refusal(413, f"one request may ask for {MAXIMUM_PLACES} places, not {len(locations)}")
        places = []
        for location in locations:
            try:
                resource = parse(location)
            except NoResourceError as error:
                raise Refusal(404, str(error)) from error
            if not isinstance(resource, PartitionsResource) or not location.isascii() or not location.isprintable():
                raise Refusal(400, "each path must name partitions, percent-encoded: /a.arrow/partitions/3-6")
            places.append((location, resource))
        return places

    async def _send(
        self, request: web.BaseRequest, status: int, headers: dict[str, str], segments: Sequence[Segment]
    ) -> web.StreamResponse:
        kind = web.StreamResponse if isinstance(segments[0], FileSpan) else _StreamedResponse
        response = kind(status=status, headers=headers)
        response.content_length = byte_count_of(segments)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        async with self._turn():
            try:
                await response.prepare(request)
                if request.transport is not None:  # else the client has gone
                    await self._sender.send(segments, response, request.transport)
            except (ConnectionError, TimeoutError):  # the client has gone, or takes nothing: that is its right
                self._break_off(request)
            except (SpillError, OSError) as error:
                _LOGGER.warning("broken off: %s", error)
                self._break_off(request)
            except BaseException:
                self._break_off(request)
                raise
        return response

    def _break_off(self, request: web.BaseRequest) -> None:
        """The head promised more: nobody may take this for an end."""
        self.metrics.broken_off.inc()
        if request.transport is not None:  # else the connection is lost already
            request.transport.abort()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until fewer are being sent than the limit."""
        try:
            async with asyncio.timeout(self._options.queue_seconds):
                await self._sends.acquire()
        except TimeoutError as error:
            raise Refusal(503, "too many answers are being sent; try again later", Retry_After="1") from error
        self._sending_count += 1
        try:
            yield
        finally:
            self._sending_count -= 1
            self._sends.release()

    @asynccontextmanager
    async def _file(self, name: str) -> AsyncIterator[ServedFile]:
        """A file, for as long as it is needed."""
        try:
            file = self._catalog.find(name)
            if file is None:
                file = await asyncio.to_thread(self._catalog.open, name)
                self._catalog.keep(file)
        except (
            NotPartitionedError,
            FileNotFoundError,
            NotADirectoryError,
            IsADirectoryError,
            PermissionError,
        ) as error:
            raise Refusal(404, "no partitioned file has this name") from error
        except SpillError as error:
            raise Refusal(500, f"the file is damaged: {error.problem}") from error
        except OSError as error:
            status = 404 if error.errno in {errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO} else 500
            raise Refusal(status, error.strerror or "the file cannot be read") from error
        try:
            yield file
        finally:
            file.release()

    async def _layout(self, resource: FileResource) -> web.Response:
        async with self._file(resource.name) as file:
            index = file.structure.index
            layout = index.layout
            assert layout.rows is not None  # an index always has them
            assert layout.crc32c is not None
            return _json(
                {
                    "name": file.name,
                    "bytes": file.structure.byte_count,
                    "partitions": layout.partition_count,
                    "alignment": index.alignment,
                    "offsets": layout.offsets.tolist(),
                    "rows": layout.rows.tolist(),
                    "crc32c": [f"{checksum:08x}" for checksum in layout.crc32c.tolist()],
                }
            )

    async def _listing(self) -> web.Response:
        listing = await asyncio.to_thread(self._catalog.listing)
        return _json(
            {
                "files": [
                    {
                        "name": listed.name,
                        "bytes": listed.byte_count,
                        "partitions": listed.partition_count,
                        "rows": listed.row_count,
                        "problem": listed.problem,
                    }
                    for listed in listing
                ]
            }
        )

    def _page_answer(self) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS)

    def _figures(self) -> web.Response:
        state = {
            "connections": self.connection_count,
            "sends": self._sending_count,
            "open_files": self._catalog.kept_count,
        }
        body = self.metrics.render(self._sender.bytes_by_method, state)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _is_browser(request: web.BaseRequest) -> bool:
    """Whether somebody would rather see a page than JSON. The page needs no token: it holds no data."""
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("Accept", "")


def _stream_of(file: ServedFile, resource: PartitionsResource) -> PartitionsStream:
    count = file.structure.index.layout.partition_count
    if resource.last > count:
        raise Refusal(404, f"there is no partition {max(resource.first, count)}: they are 0 to {count - 1}")
    return partitions_stream(file, file.structure, resource.first, resource.last)


def _entity_tag(file: ServedFile, stream: PartitionsStream) -> str:
    return f'"{file.identity_text}-{stream.crc32c:08x}"'


def _json(value: dict[str, Any]) -> web.Response:
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=json.dumps(value).encode(), content_type="application/json", headers=headers)
