"""Of what the fast lane recognises, aiohttp's parser sees the same request, and nothing more: a differential fuzz."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage

from shuffle.serve.plain_get import recognised

SECONDS = 20
FIELDS = [
    b"Host: localhost", b"host: a:1", b"Host:", b"Host:x", b"Host: a b", b"HOST: \x80", b" Host: x", b"Host : x",
    b"Accept: */*", b"accept-encoding: gzip, identity", b"User-Agent: a/1 (b)", b"Connection: keep-alive",
    b"Connection: Keep-Alive ", b"connection: close", b"Connection: keep-alive, close", b"Connection: Upgrade",
    b"Authorization: Bearer a", b"authorization:  Bearer a ", b"Authorization:", b"Range: bytes=0-", b"If-Match: *",
    b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"X: \t",
    b"Upgrade: websocket", b"Cookie: a=b", b"Accept: \x00", b"Accept", b": a", b"Accept: a\rb", b"Accept: a\nHost: b",
]  # fmt: skip
LINES = [
    b"GET /a.arrow/partitions/0 HTTP/1.1", b"GET /a%2earrow/partitions/0-3 HTTP/1.1",
    b"GET /b/a.arrow/partitions/7 HTTP/1.1", b"GET /a.arrow/partitions/0?x=1#y HTTP/1.1",
    b"GET  /a.arrow/partitions/0 HTTP/1.1", b"GET /a.arrow/partitions/0 HTTP/1.0", b"GET /a.arrow HTTP/1.1",
    b"get /a.arrow/partitions/0 HTTP/1.1", b"HEAD /a.arrow/partitions/0 HTTP/1.1", b"GET /a.arrow/partitions/0",
    b"GET //a.arrow/partitions/0 HTTP/1.1", b"GET http://x/a.arrow/partitions/0 HTTP/1.1",
]  # fmt: skip
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b""]


def generated(generator: random.Random) -> bytes:
    """A request, nearly: often of a form that is recognised, and often off by a byte."""
    lines = [b"GET /a.arrow/partitions/0 HTTP/1.1" if generator.random() < 0.6 else generator.choice(LINES)]
    lines += [generator.choice(FIELDS[:2])] if generator.random() < 0.8 else []
    likely = FIELDS if generator.random() < 0.3 else [*FIELDS[8:13], *FIELDS[16:18]]
    lines += generator.choices(likely, k=generator.randrange(5))
    generator.shuffle(tail := lines[1:])
    end = generator.choice(ENDS) if generator.random() < 0.1 else b"\r\n"
    request = bytearray(end.join([lines[0], *tail, b"", b""]))
    for _ in range(generator.choice([0, 0, 0, 1, 3])):
        place = generator.randrange(len(request))
        what = generator.randrange(3)
        if what == 0:
            request[place] = generator.randrange(256)
        elif what == 1:
            del request[place]
        else:
            request[place:place] = generator.choice([b"\r\n", b" ", b"\0", b":", b"\t", b"GET "])
    return bytes(request)


def parsed(data: bytes, loop: asyncio.AbstractEventLoop) -> RawRequestMessage | None:
    """The one request that bytes are to aiohttp, without a body and without anything behind it."""
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
    try:
        messages, upgraded, tail = parser.feed_data(data)
    except HttpProcessingError:
        return None
    if len(messages) != 1 or upgraded or tail or not messages[0][1].is_eof():
        return None
    more, _, _ = parser.feed_data(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")  # what comes next is a request of its own
    return messages[0][0] if len(more) == 1 and more[0][0].path == "/next" else None


@pytest.mark.slow
def test_both_parsers_see_the_same_request() -> None:
    generator = random.Random(20261124)
    loop = asyncio.new_event_loop()
    taken = 0
    ends_at = time.monotonic() + SECONDS
    for number in range(400_000):
        data = generated(generator)
        request = recognised(data)
        if request is None:
            continue
        taken += 1
        message = parsed(data, loop)
        assert message is not None, data
        assert (message.method, message.version, message.should_close) == ("GET", (1, 1), False), data
        assert (message.upgrade, message.chunked, message.compression) == (False, False, None), data
        assert message.path == request.target, data
        assert message.headers.getall("Host") == [request.host], data
        assert message.headers.get("Authorization", "").encode() == request.authorization, data
        others = {name.lower() for name in message.headers} - {
            "host", "accept", "accept-encoding", "user-agent", "authorization", "connection"
        }  # fmt: skip
        assert not others, data
        if number % 1000 == 0 and time.monotonic() > ends_at:
            break
    loop.close()
    assert taken > 10_000  # else it says little
