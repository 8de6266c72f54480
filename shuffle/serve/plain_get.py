"""The request that reducers make by the million, recognised to its last byte: a plain GET of partitions. Pure.

Whatever is not recognised is aiohttp's to read. Of what is recognised both must see the same request.
"""
# PURE

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from shuffle.serve.resource import NoResourceError, PartitionsResource, parse

_MAXIMUM_BYTES = 4096
_OTHERS = (
    rb"(?:(?i:User-Agent|Accept|Accept-Encoding):[ -~]*\r\n"
    rb"|(?i:Connection): *(?i:keep-alive) *\r\n)*"
)
_AUTHORIZATION = rb"(?:(?i:Authorization): *([!-~][ -~]*)\r\n" + _OTHERS + rb")?"
_LINE = re.compile(rb"GET (/[!-~]+) HTTP/1\.1")
_FIELDS = re.compile(
    (_OTHERS + _AUTHORIZATION) + rb"(?i:Host): *([!-~]+) *\r\n" + (_OTHERS + _AUTHORIZATION) + rb"\r\n"
)
"""One host, and fields that do not change the answer, except for the token."""
_ONCE = (b"user-agent:", b"accept:", b"accept-encoding:", b"connection:")


class PlainGet(NamedTuple):
    """A request that is answered here.

    Attributes:
        target: of the request.
        resource: what it names.
        host, authorization: values of these fields; the latter is empty where there is none.
    """

    target: str
    resource: PartitionsResource
    host: str
    authorization: bytes


def recognised(data: bytes) -> PlainGet | None:
    """The request that bytes are, to the last of them, or None."""
    if len(data) > _MAXIMUM_BYTES:
        return None
    line, _, fields = data.partition(b"\r\n")
    found = _host_and_authorization(fields)
    if found is None or (match := _LINE.fullmatch(line)) is None:
        return None
    target = match[1].decode("ascii")
    try:
        resource = parse(target)
    except NoResourceError:
        return None
    return PlainGet(target, resource, *found) if isinstance(resource, PartitionsResource) else None


@lru_cache(256)  # a client sends the same fields with each request, and to read them takes longer than all else here
def _host_and_authorization(fields: bytes) -> tuple[str, bytes] | None:
    match = _FIELDS.fullmatch(fields)
    if match is None or (match[1] and match[3]):
        return None
    names = fields.lower()
    if any(names.count(name) > 1 for name in _ONCE):  # in a value, too: aiohttp judges what is said twice
        return None
    return match[2].decode("ascii"), (match[1] or match[3] or b"").rstrip()
