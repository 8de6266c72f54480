"""Answers requests: ``resource.py`` reads names, ``conditions.py`` ranges; the catalog has files; the sender sends."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from importlib import resources
from itertools import chain, count

from aiohttp import HttpVersion11, web

from shuffle.http_options import ServeOptions
from shuffle.serve.access_log import AccessLog, Served
from shuffle.serve.answer import SentResponse, connection_field, encode_head
from shuffle.serve.catalog import NO_DESCRIPTORS, Catalog, ServedFile
from shuffle.serve.conditions import evaluate
from shuffle.serve.connection_table import ConnectionTable, address_of
from shuffle.serve.documents import layout_document, listing_document
from shuffle.serve.health import RootHealth
from shuffle.serve.hosts import AllowedHosts
from shuffle.serve.metrics import BROKEN_OFF, CONTENT_TYPE, ServerMetrics
from shuffle.serve.outlet import Outlet, ResponseOutlet, SocketOutlet
from shuffle.serve.plain_get import PlainGet
from shuffle.serve.refusal import Refusal
from shuffle.serve.representation import PartitionsStream, Segment, check_there_are, cut, joined, stream_of
from shuffle.serve.requests import check_right, identity_field, identity_of, is_browser, resource_of
from shuffle.serve.resource import (
    ROUTES,
    FileResource,
    Health,
    Listing,
    PartitionsResource,
    Readiness,
)
from shuffle.serve.several import parts_of, places_asked, segments_of
from shuffle.serve.tokens import Rights, Tokens
from shuffle.serve.transfer import Sender
from shuffle.serve.turns import Stint, Turns
from shuffle.wire import CHECKSUM_HEADER, INCARNATION_HEADER, MULTIPART_END, MULTIPART_TYPE, ROWS_HEADER, STREAM_TYPE
from spill_format.errors import NotPartitionedError, SpillError, in_words

_LOGGER = logging.getLogger("shuffle.serve")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}
_JSON_HEADERS = {"Content-Type": "application/json", "Vary": "Accept", "X-Content-Type-Options": "nosniff"}


class Application:
    """Answers requests for the files of a catalog. All but the catalog's slow methods run in the event loop's thread.

    Args:
        catalog: the files.
        options: limits and secrets.
        incarnation: identity of this run of the server.

    Attributes:
        metrics: the server's counters.
        connections: the server's connections.
        tokens: the valid tokens and their rights; a reload replaces them.
        access_log: gets a line for each request; or None.
    """

    def __init__(self, catalog: Catalog, options: ServeOptions, incarnation: str) -> None:
        self.metrics: ServerMetrics = ServerMetrics()
        self.connections: ConnectionTable = ConnectionTable(options)
        self.tokens: Tokens = Tokens(options)
        self.access_log: AccessLog | None = (
            AccessLog(options.access_log, options.access_log_format) if options.access_log else None
        )
        self._catalog = catalog
        self._options = options
        self._hosts = AllowedHosts(options.allow_hosts)
        self._health = RootHealth(catalog.root)
        self._identities = map(f"{incarnation}-{{}}".format, count())
        self._own_fields = {INCARNATION_HEADER: incarnation}
        self._page = resources.files("shuffle.serve").joinpath("page.html").read_bytes()
        self._sender = Sender(options.transfer_to, options.buffer_bytes)
        self._turns = Turns(options.sends, options.queue_seconds)

    def close(self) -> None:
        """Close the access log, and end the thread that looks at the root."""
        self._health.close()
        if self.access_log is not None:
            self.access_log.close()

    def update_metrics(self) -> None:
        """Update the figures that change without a request."""
        now = {
            "http_connections": self.connections.count,
            "http_sends": self._turns.taken_count,
            "open_files": self._catalog.kept_count,
            "known_layout_bytes": self._catalog.kept_bytes,
        }
        self.metrics.update(self._sender.bytes_by_method, now)

    async def state_of(self, resource: Health | Readiness) -> tuple[int, str]:
        """Return status and text of the server's health: whether it sees its root and, for readiness, has room."""
        problem = await self._health.problem()
        if problem is None and isinstance(resource, Readiness) and self.connections.is_full:
            problem = "there are as many connections as there may be"
        return (200, "ok") if problem is None else (503, problem)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        identity = identity_of(request) or next(self._identities)
        client = address_of(request.transport) if request.transport is not None else ""
        served = Served(identity, client, request.method, request.raw_path, time.monotonic())
        outlet = self.connections.outlet_of(request.protocol)
        sent_before = outlet.sent if outlet is not None else 0
        try:
            response = await self._answer(request, served)
        except Refusal as refusal:
            response = web.Response(status=refusal.status, text=f"{refusal.reason}\n", headers=refusal.headers)
            if refusal.closes:
                response.force_close()
        if not response.prepared and not isinstance(response, SentResponse):
            response.headers.update(self._own_fields | identity_field(request, served))
            body = getattr(response, "body", None)
            served.byte_count = len(body) if isinstance(body, bytes) else 0
        elif outlet is not None:
            served.byte_count = max(served.byte_count + outlet.sent - sent_before, 0)
        served.status = response.status
        self._finish(served)
        return response

    async def answer_plain_get(self, request: PlainGet, client: str, outlet: SocketOutlet) -> bool:
        """Answer a GET of partitions without conditions or ranges; return whether the connection stays open."""
        served = Served("", client, "GET", request.target, time.monotonic(), "partitions", 200)
        sent_before = outlet.sent
        stays = True
        try:
            self._check_host(request.host)
            rights = self._rights_of(request.authorization)
            check_right(rights, request.resource)
            async with self._turns:  # before a file is opened: a request that waits holds none
                with await self._file(request.resource.name) as file:
                    stream = await self._stream(file, request.resource)
                    fields = {**_fields_of(stream), "Content-Length": str(stream.byte_count), **self._own_fields}
                    head = encode_head(200, fields)
                    await self._deliver([head, *stream.segments], outlet, served)
        except Refusal as refusal:
            served.status, stays = refusal.status, not refusal.closes
            body = f"{refusal.reason}\n".encode()
            fields = {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
                **refusal.headers,
                **self._own_fields,
            }
            head = encode_head(refusal.status, fields)
            await self._deliver([head, body], outlet, served)
        served.byte_count = max(outlet.sent - sent_before - len(head), 0)
        self._finish(served)
        return stays

    def _finish(self, served: Served) -> None:
        seconds = time.monotonic() - served.began
        self.metrics.answered(served.route, BROKEN_OFF if served.is_broken_off else str(served.status), seconds)
        if self.access_log is not None:
            served.identity = served.identity or next(self._identities)
            self.access_log.write(served, seconds)

    async def _answer(self, request: web.BaseRequest, served: Served) -> web.StreamResponse:
        resource = resource_of(request)
        served.route = "several" if request.method == "POST" else ROUTES[type(resource)]
        if isinstance(resource, Health | Readiness):
            status, text = await self.state_of(resource)
            return web.Response(status=status, text=f"{text}\n")
        if "Host" in request.headers:
            self._check_host(request.headers["Host"])
        if isinstance(resource, Listing) and is_browser(request):
            return self._page_answer()
        rights = self._rights_of(request.headers.get("Authorization", "").encode("utf-8", "surrogateescape"))
        if isinstance(resource, Listing) and request.method == "POST":
            return await self._several(request, rights, served)
        allowed = "GET, HEAD, POST" if isinstance(resource, Listing) else "GET, HEAD"
        if request.method not in allowed.split(", "):
            raise Refusal(405, f"{request.method} is not allowed here: {allowed} are", Allow=allowed)
        check_right(rights, resource)
        if isinstance(resource, PartitionsResource):
            return await self._partitions(request, resource, served)
        if isinstance(resource, FileResource):
            return await self._layout(request, resource, served)
        return await self._listing(request, rights, served) if isinstance(resource, Listing) else self._figures()

    def _check_host(self, field: str) -> None:
        if not self._hosts.allow(field):
            raise Refusal(421, "this server has another name: see --allow-host", Connection="close")

    def _rights_of(self, authorization: bytes) -> Rights:
        rights = self.tokens.rights_of(authorization)
        if rights is None:
            fields = {"WWW_Authenticate": "Bearer", "Connection": "close"}  # a stranger keeps no connection
            raise Refusal(401, "a bearer token is needed, and the right one", **fields)
        return rights

    async def _partitions(
        self, request: web.BaseRequest, resource: PartitionsResource, served: Served
    ) -> web.StreamResponse:
        async with nullcontext() if request.method == "HEAD" else self._turns:
            with await self._file(resource.name) as file:
                stream = await self._stream(file, resource)
                selection = evaluate(request.headers, stream.entity_tag, stream.byte_count)
                fields = _fields_of(stream)
                send = partial(self._send, request, served, selection.status, fields)
                if selection.status == 200:
                    return await send(stream.segments, stream.byte_count)
                if selection.status == 416:
                    fields["Content-Range"] = f"bytes */{stream.byte_count}"
                if selection.status != 206:
                    return web.Response(status=selection.status, headers=fields)
                fields["Content-Range"] = f"bytes {selection.start}-{selection.stop - 1}/{stream.byte_count}"
                segments = list(cut(stream.segments, selection.start, selection.stop))
                return await send(segments, selection.stop - selection.start)

    async def _several(self, request: web.BaseRequest, rights: Rights, served: Served) -> web.StreamResponse:
        """One answer with the streams of several places, in the order in which they were asked for."""
        if "Expect" in request.headers:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        places = await places_asked(request, self._options.header_seconds)
        for place in places:
            check_right(rights, place.resource)
        async with self._turns:
            parts = await parts_of(places, self._file, self._stream)
            byte_count = sum(part.byte_count for part in parts) + len(MULTIPART_END)
            fields = {"Content-Type": MULTIPART_TYPE}
            with closing(segments_of(parts, self._catalog)) as segments:
                return await self._send(request, served, 200, fields, segments, byte_count)

    async def _send(
        self,
        request: web.BaseRequest,
        served: Served,
        status: int,
        fields: dict[str, str],
        segments: Iterable[Segment],
        byte_count: int,
    ) -> web.StreamResponse:
        fields |= {"Content-Length": str(byte_count), **self._own_fields, **identity_field(request, served)}
        if request.method == "HEAD":
            response = web.StreamResponse(status=status, headers=fields)
            await response.prepare(request)
            return response
        outlet = self.connections.outlet_of(request.protocol)
        if outlet is None:
            response = web.StreamResponse(status=status, headers=fields)
            leaving = ResponseOutlet(request, response)
            await self._deliver(segments, leaving, served)
            served.byte_count = leaving.sent
            return response
        head = encode_head(status, {**fields, **connection_field(request)})
        served.byte_count = -len(head)  # what is sent, head included, is added when all is sent
        await self._deliver(chain([head], segments), outlet, served)
        return SentResponse(status, keep_alive=request.keep_alive)

    async def _deliver(self, segments: Iterable[Segment], outlet: Outlet, served: Served) -> None:
        """Send all of an answer, or break the connection off: its head promised more."""
        is_whole = False
        try:
            await self._sender.send(joined(segments), outlet)
            is_whole = True
        except (ConnectionError, TimeoutError):  # the client is gone, or takes nothing: no fault of the server
            pass
        except (SpillError, OSError) as error:
            _LOGGER.warning("broken off: %s", in_words(error))
        finally:
            if not is_whole:
                served.is_broken_off = True
                outlet.abort()

    async def _file(self, name: str) -> ServedFile:
        """Return a file, to be released."""
        try:
            return self._catalog.find(name) or await self._catalog.opened(name)
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

    async def _stream(self, file: ServedFile, resource: PartitionsResource) -> PartitionsStream:
        """The stream of partitions of an open file."""
        check_there_are(file, resource)
        try:
            extent = file.extent(resource.start, resource.stop)
            if extent is None:
                await self._catalog.summed_up(file)
                extent = file.extent(resource.start, resource.stop)
        except SpillError as error:
            raise Refusal(500, f"the file is damaged: {error.problem}") from error
        except OSError as error:
            raise Refusal(500, error.strerror or "the file cannot be read") from error
        assert extent is not None  # it is summed up
        return stream_of(file, extent)

    async def _layout(self, request: web.BaseRequest, resource: FileResource, served: Served) -> web.StreamResponse:
        async with self._turns:
            with await self._file(resource.name) as file:
                return await self._send_document(request, layout_document(file), served)

    async def _listing(self, request: web.BaseRequest, rights: Rights, served: Served) -> web.StreamResponse:
        async with self._turns:
            try:
                listing = await self._catalog.listed()
            except OSError as error:
                raise _busy() from error
            if rights.prefixes is not None:
                listing = [listed for listed in listing if rights.allow(listed.name)]
            return await self._send_document(request, listing_document(listing), served)

    async def _send_document(
        self, request: web.BaseRequest, pieces: Iterator[bytes], served: Served
    ) -> web.StreamResponse:
        """Send JSON piece by piece: no answer is held in memory, and no long answer delays others."""
        response = web.StreamResponse(headers={**_JSON_HEADERS, **self._own_fields, **identity_field(request, served)})
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        else:
            response.force_close()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        stint = Stint()
        try:
            for piece in pieces:
                await response.write(piece)
                served.byte_count += len(piece)
                if stint.is_over(len(piece)):
                    await stint.rest()
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            served.is_broken_off = True
        except (SpillError, OSError) as error:
            _LOGGER.warning("broken off: %s", in_words(error))
            served.is_broken_off = True
            if request.transport is not None:
                request.transport.abort()
        return response

    def _figures(self) -> web.Response:
        self.update_metrics()
        return web.Response(body=self.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def _page_answer(self) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS)


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
