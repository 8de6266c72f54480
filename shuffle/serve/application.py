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
from collections.abc import Iterable
from contextlib import closing, nullcontext
from importlib import resources
from itertools import chain
from typing import Any

from aiohttp import web

from shuffle.options import ServeOptions
from shuffle.serve.answer import SentResponse, connection_field, encode_head
from shuffle.serve.catalog import NO_DESCRIPTORS, Catalog, ServedFile
from shuffle.serve.conditions import evaluate
from shuffle.serve.metrics import CONTENT_TYPE, ServerMetrics
from shuffle.serve.outlet import Outlet, ResponseOutlet, SocketOutlet
from shuffle.serve.refusal import Refusal
from shuffle.serve.representation import PartitionsStream, Segment, cut, joined, stream_of
from shuffle.serve.resource import (
    FileResource,
    Health,
    Listing,
    Metrics,
    NoResourceError,
    PartitionsResource,
    parse,
)
from shuffle.serve.several import parts_of, places_asked, segments_of
from shuffle.serve.transfer import Sender
from shuffle.serve.turns import Turns
from shuffle.wire import CHECKSUM_HEADER, INCARNATION_HEADER, MULTIPART_END, MULTIPART_TYPE, ROWS_HEADER, STREAM_TYPE
from spill_format.errors import NotPartitionedError, SpillError

_LOGGER = logging.getLogger("shuffle.serve")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}


class Application:
    """Answers requests for the files of a catalog. All but the catalog's slow methods run in the event loop's thread.

    Attributes:
        metrics: what is counted.
    """

    def __init__(self, catalog: Catalog, options: ServeOptions, incarnation: str) -> None:
        self.metrics = ServerMetrics()
        self._outlets: dict[asyncio.BaseProtocol, SocketOutlet | None] = {}
        self._expected: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._catalog = catalog
        self._options = options
        self._sender = Sender(options.transfer_to, options.buffer_bytes)
        self._turns = Turns(options.sends, options.queue_seconds)
        self._own_fields = {INCARNATION_HEADER: incarnation}
        self._page = resources.files("shuffle.serve").joinpath("page.html").read_bytes()

    @property
    def connection_count(self) -> int:
        """Connections that there are, and that are about to be."""
        return len(self._outlets) + len(self._expected)

    def expect(self, protocol: asyncio.BaseProtocol, seconds: float) -> None:
        """Count a connection that was accepted, until it is made; with TLS nobody is told if it never is."""
        loop = asyncio.get_running_loop()
        self._expected[protocol] = loop.call_later(seconds, self._expected.pop, protocol, None)

    def connected(self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport) -> SocketOutlet | None:
        """Take note of a connection on which requests will come. Where answers leave it, unless TLS encrypts them.

        A connection for which there is nothing left, be it a descriptor, is broken off.
        """
        if (timer := self._expected.pop(protocol, None)) is not None:
            timer.cancel()
        self._outlets[protocol] = None
        if self.connection_count > self._options.connections:  # expected no more, and came
            transport.abort()
        elif transport.get_extra_info("sslcontext") is None:
            try:
                self._outlets[protocol] = SocketOutlet(transport, self._options.idle_seconds)
            except OSError as error:
                _LOGGER.warning("broken off: %s", error)
                transport.abort()
        return self._outlets[protocol]

    def disconnected(self, protocol: asyncio.BaseProtocol) -> None:
        """Forget a connection that is lost."""
        if (outlet := self._outlets.pop(protocol)) is not None:
            outlet.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        began = time.monotonic()
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = web.Response(status=refusal.status, text=f"{refusal.reason}\n", headers=refusal.headers)
        if not response.prepared and not isinstance(response, SentResponse):
            response.headers.update(self._own_fields)
        self.metrics.answered(response.status, time.monotonic() - began)
        return response

    async def answer_plain_get(self, resource: PartitionsResource, authorization: str, outlet: SocketOutlet) -> None:
        """Answer a GET of partitions without conditions or ranges, by HTTP/1.1, on a connection that stays."""
        began = time.monotonic()
        status = 200
        try:
            self._check_token(authorization)
            async with self._turns:  # before a file is opened: those who wait hold none
                with await self._file(resource.name) as file:
                    stream = stream_of(file, resource)
                    fields = {**_fields_of(stream), "Content-Length": str(stream.byte_count), **self._own_fields}
                    await self._deliver([encode_head(200, fields), *stream.segments], outlet)
        except Refusal as refusal:
            status = refusal.status
            body = f"{refusal.reason}\n".encode()
            fields = {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
                **refusal.headers,
                **self._own_fields,
            }
            await self._deliver([encode_head(status, fields), body], outlet)
        self.metrics.answered(status, time.monotonic() - began)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            resource = parse(request.raw_path)
        except NoResourceError as error:
            raise Refusal(404, str(error)) from error
        if not (isinstance(resource, Health) or (isinstance(resource, Listing) and _is_browser(request))):
            self._check_token(request.headers.get("Authorization", ""))
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

    def _check_token(self, authorization: str) -> None:
        if self._options.token is None:
            return
        scheme, _, given = authorization.partition(" ")
        expected = self._options.token.encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected):
            raise Refusal(401, "a bearer token is needed, and the right one", WWW_Authenticate="Bearer")

    async def _partitions(self, request: web.BaseRequest, resource: PartitionsResource) -> web.StreamResponse:
        async with nullcontext() if request.method == "HEAD" else self._turns:
            with await self._file(resource.name) as file:
                stream = stream_of(file, resource)
                answer = evaluate(request.headers, stream.entity_tag, stream.byte_count)
                fields = _fields_of(stream)
                if answer.status == 200:
                    return await self._send(request, 200, fields, stream.segments, stream.byte_count)
                if answer.status == 416:
                    fields["Content-Range"] = f"bytes */{stream.byte_count}"
                if answer.status != 206:
                    return web.Response(status=answer.status, headers=fields)
                fields["Content-Range"] = f"bytes {answer.first}-{answer.last - 1}/{stream.byte_count}"
                segments = list(cut(stream.segments, answer.first, answer.last))
                return await self._send(request, 206, fields, segments, answer.last - answer.first)

    async def _several(self, request: web.BaseRequest) -> web.StreamResponse:
        """One answer with the streams of several places, in the order in which they were asked for."""
        places = await places_asked(request, self._options.header_seconds)
        async with self._turns:
            parts = await parts_of(places, self._file)
            byte_count = sum(part.byte_count for part in parts) + len(MULTIPART_END)
            with closing(segments_of(parts, self._catalog)) as segments:
                return await self._send(request, 200, {"Content-Type": MULTIPART_TYPE}, segments, byte_count)

    async def _send(
        self,
        request: web.BaseRequest,
        status: int,
        fields: dict[str, str],
        segments: Iterable[Segment],
        byte_count: int,
    ) -> web.StreamResponse:
        fields |= {"Content-Length": str(byte_count), **self._own_fields}
        if request.method == "HEAD":
            response = web.StreamResponse(status=status, headers=fields)
            await response.prepare(request)
            return response
        outlet = self._outlets.get(request.protocol)
        if outlet is None:
            response = web.StreamResponse(status=status, headers=fields)
            await self._deliver(segments, ResponseOutlet(request, response, self._options.idle_seconds))
            return response
        head = encode_head(status, {**fields, **connection_field(request)})
        await self._deliver(chain([head], segments), outlet)
        return SentResponse(status, keep_alive=request.keep_alive)

    async def _deliver(self, segments: Iterable[Segment], outlet: Outlet) -> None:
        """Send all of an answer, or break the connection off: its head promised more."""
        try:
            await self._sender.send(joined(segments), outlet)
        except (ConnectionError, TimeoutError):  # the client has gone, or takes nothing: that is its right
            self._break_off(outlet)
        except (SpillError, OSError) as error:
            _LOGGER.warning("broken off: %s", error)
            self._break_off(outlet)
        except BaseException:
            self._break_off(outlet)
            raise

    def _break_off(self, outlet: Outlet) -> None:
        self.metrics.broken_off.inc()
        outlet.abort()

    async def _file(self, name: str) -> ServedFile:
        """A file, to be released."""
        try:
            file = self._catalog.find(name)
            if file is None:
                file = await asyncio.to_thread(self._catalog.open, name)
                self._catalog.keep(file)
            return file
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._catalog.has_had(name):
                raise Refusal(410, "the file that had this name is gone") from error
            raise Refusal(404, "no partitioned file has this name") from error
        except (NotPartitionedError, IsADirectoryError, PermissionError) as error:
            raise Refusal(404, "no partitioned file has this name") from error
        except SpillError as error:
            raise Refusal(500, f"the file is damaged: {error.problem}") from error
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                raise _busy() from error
            status = 404 if error.errno in {errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO} else 500
            raise Refusal(status, error.strerror or "the file cannot be read") from error

    async def _layout(self, resource: FileResource) -> web.Response:
        with await self._file(resource.name) as file:
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
        try:
            listing = await asyncio.to_thread(self._catalog.listing)
        except OSError as error:
            raise _busy() from error
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
            "sends": self._turns.taken_count,
            "open_files": self._catalog.kept_count,
        }
        body = self.metrics.render(self._sender.bytes_by_method, state)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _is_browser(request: web.BaseRequest) -> bool:
    """Whether somebody would rather see a page than JSON. The page needs no token: it holds no data."""
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("Accept", "")


def _fields_of(stream: PartitionsStream) -> dict[str, str]:
    return {
        "ETag": stream.entity_tag,
        "Accept-Ranges": "bytes",
        "Content-Type": STREAM_TYPE,
        CHECKSUM_HEADER: f"{stream.crc32c:08x}",
        ROWS_HEADER: str(stream.row_count),
    }


def _busy() -> Refusal:
    return Refusal(503, "too many files are open; try again later", Retry_After="1")


def _json(value: dict[str, Any]) -> web.Response:
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=json.dumps(value).encode(), content_type="application/json", headers=headers)
